# SPDX-License-Identifier: MIT
"""What must hold of the parsers, whatever they are given: ``python -m tests.nightly.fuzz --examples 1000``.

Hypothesis looks for an example that breaks a property, and makes it small. It is installed by ``make nightly`` alone.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import logging
import sqlite3
import sys
import tempfile
import time
import traceback
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pdudaemon import ranges
from pdudaemon.config import yamlfile
from pdudaemon.config.faults import Faults
from pdudaemon.engine.storage import walfile
from pdudaemon.errors import ConfigError, RequestError
from pdudaemon.server import http, jsonbody, messages
from pdudaemon.server.text import _has_form, _may_go_on, _words

NAMES = st.from_regex(
    r"[a-z]{1,3}(\[[0-9]{1,3}(-[0-9]{1,3})?(/[0-9])?(,[0-9]{1,3}(-[0-9]{1,3})?)*\])?[a-z]?", fullmatch=True
)
LISTS = st.lists(NAMES, min_size=1, max_size=4)
HEADS = st.builds(
    lambda method, target, headers, body: (
        (
            f"{method} {target} HTTP/1.1\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in headers)
            + f"Content-Length: {len(body)}\r\n\r\n"
        ).encode("latin-1")
        + body
    ),
    st.sampled_from(["GET", "POST", "DELETE", "x"]),
    st.from_regex(r"/[!-~]{0,30}", fullmatch=True),
    st.lists(
        st.tuples(st.from_regex(r"[A-Za-z-]{1,10}x", fullmatch=True), st.from_regex(r"[ -~]{0,20}", fullmatch=True)),
        max_size=5,
    ),
    st.binary(max_size=40),
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def members(group: str) -> list[str]:
    """Return the nodes of a group, or of all that a pattern stands for: one, that has its name if that can be."""
    return [group if ranges.is_name(group) else "of-a-pattern"]


@given(st.text(max_size=60) | LISTS.map(",".join), st.booleans())
def ranges_end_in_names_or_a_reason(text: str, patterns: bool) -> None:
    """Names are names, each once; whatever is wrong is said in one line, soon."""
    begun = time.monotonic()
    try:
        found = ranges.expanded(text, members, ["node1"] if patterns else None)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert len(found) == len({*found}) <= ranges.MOST
        assert patterns or all(map(ranges.is_name, found))
    assert time.monotonic() - begun < 5


@given(LISTS, LISTS)
def operators_are_those_of_sets(one: list[str], other: list[str]) -> None:
    """``,`` joins, ``!`` takes away, ``&`` keeps what both have, ``^`` what one of both has."""
    try:
        first, second = ranges.expanded(",".join(one)), [ranges.expanded(each) for each in other]
    except ValueError:
        return
    for operator, combine in (("!", set.difference), ("&", set.intersection), ("^", set.symmetric_difference)):
        wanted = {*first}
        for each in second:
            wanted = combine(wanted, {*each})
        assert {*ranges.expanded(operator.join([",".join(one), *other]))} == wanted
    assert ranges.expanded(",".join(first)) == first


@given(st.lists(HEADS, max_size=3), st.binary(max_size=20), st.lists(st.integers(0, 400), max_size=6))
def requests_are_the_same_in_whatever_pieces_they_come(whole: list[bytes], rest: bytes, cuts: list[int]) -> None:
    data = b"".join(whole) + rest
    assert taken([data]) == taken([data[i:j] for i, j in itertools.pairwise([0, *sorted(cuts), len(data)])])


def taken(pieces: list[bytes]) -> list[Any]:
    """Return all requests of some pieces, and what is wrong with the rest."""
    reader, received, found = http.Reader(), bytearray(), []
    for number, piece in enumerate(pieces, 1):
        received += piece
        try:
            while (body := reader.take(received, ended=number == len(pieces))) is not None:
                found.append((reader.head, body))
                if not received:
                    break
        except messages.Unreadable as error:
            assert 400 <= error.http_status < 600 and str(error)
            return [*found, "unreadable"]
    return found


@given(
    st.text(max_size=80)
    | st.from_regex(
        r"[a-z0-9]{1,5} [0-9]{1,2} (on|off|reboot|status)( [0-9.]{1,3})?( wait=[0-9]{0,2})?", fullmatch=True
    )
)
def a_text_that_is_complete_could_have_gone_on_before(text: str) -> None:
    """Nothing that becomes a request is refused while it comes; each text is words, or no request."""
    try:
        action, words = _words(text)
        assert action and all(isinstance(value, str) for value in words.values())
    except RequestError as error:
        assert str(error)
    if _has_form(text):
        for end in range(1, len(text)):
            assert _may_go_on(text[:end]) or _has_form(text[:end]), text[:end]


@given(TREES | st.dictionaries(st.sampled_from(["action", "wait", "key", "nodes"]), TREES), st.binary(max_size=5))
def bodies_are_read_or_refused_by_the_name_of_a_field(tree: Any, rest: bytes) -> None:
    for body in (json.dumps(tree).encode(), json.dumps(tree).encode() + rest, rest):
        try:
            fields = jsonbody.Fields(body, "application/json", ("action", "wait", "key", "nodes"))
            for ask in (fields.text, fields.word, fields.texts, fields.truth, partial(fields.seconds, most=60)):
                for name in ("action", "wait", "key", "nodes"):
                    ask(name)
        except messages.Misdirected as error:
            assert str(error) and error.http_status in (400, 415, 422)


@given(st.text(max_size=200) | TREES.map(json.dumps))
def yaml_is_a_map_or_a_fault(text: str) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)
        file.flush()
        faults = Faults()
        try:
            assert isinstance(yamlfile.read(file.name, faults, "anything"), dict)
        except ConfigError as error:
            assert str(error)


@given(
    st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=5),
    st.integers(0),
    st.integers(0, 7),
    st.integers(0),
)
def logs_are_read_as_sqlite_reads_them(values: list[bytes], place: int, bit: int, cut: int) -> None:
    """That is up to the last transaction before the first frame that is damaged or cut off."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "db"
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE t (value)")
            for value in values:
                database.execute("INSERT INTO t VALUES (?)", (value,))
            main, log = path.read_bytes(), bytearray(Path(f"{path}-wal").read_bytes())
        if cut % 3 == 0:
            del log[cut % (len(log) + 1) :]
        elif cut % 3 == 1:
            log[place % len(log)] ^= 1 << bit
        copy = Path(name) / "copy"
        copy.write_bytes(main)
        Path(f"{copy}-wal").write_bytes(log)
        read = walfile.read(Path(f"{copy}-wal"), 4096)
        image = read.applied(main, read.readable)
        with closing(sqlite3.connect(copy)) as database:
            rows = contents(database)
        with closing(sqlite3.connect(":memory:")) as database:
            image[18:20] = b"\x01\x01"  # without a log
            database.deserialize(bytes(image))
            assert contents(database) == rows


def contents(database: sqlite3.Connection) -> list[Any]:
    """Return all rows; none if there is no table yet."""
    try:
        return database.execute("SELECT value FROM t ORDER BY rowid").fetchall()
    except sqlite3.OperationalError:
        return []


PROPERTIES = [
    ranges_end_in_names_or_a_reason,
    operators_are_those_of_sets,
    requests_are_the_same_in_whatever_pieces_they_come,
    a_text_that_is_complete_could_have_gone_on_before,
    bodies_are_read_or_refused_by_the_name_of_a_field,
    yaml_is_a_map_or_a_fault,
    logs_are_read_as_sqlite_reads_them,
]


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.fuzz")
    parser.add_argument("--examples", type=int, default=1000, help="of each property (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = 0
    for each in PROPERTIES:
        few = asked.examples if each is not logs_are_read_as_sqlite_reads_them else asked.examples // 10
        bounded = settings(
            max_examples=max(1, few), deadline=None, database=None, suppress_health_check=[*HealthCheck],
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        )  # fmt: skip
        begun, told = time.monotonic(), io.StringIO()
        try:
            seed(asked.seed)(bounded(each))()
        except Exception:  # the example is in what is told
            failed += 1
            traceback.print_exc(file=told)
        print(told.getvalue(), end="")
        print(
            f"* {each.__name__}: {'FAILED' if told.getvalue() else few} in {time.monotonic() - begun:.0f} s", flush=True
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
