# SPDX-License-Identifier: MIT
"""Looking for requests in a history of 1,000,000, of 500 PDUs with 24 outlets each: how long an answer takes.

The rows are put into the store of a daemon that then starts on it, so that their words are entered behind its back, as
those of an older store are; how long that takes is told, and what a look takes before it is done.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.bench import load, peers
from tests.bench.report import Bench

MOST = 0.1  # seconds for any of them
FIRST = 1_700_000_000  # when the first request was accepted, in seconds since the epoch
LOOKS = {
    "the newest": "",
    "of a PDU": "pdu=pdu007",
    "of a node": "node=n7-3",
    "of nobody": "node=nobody",
    "failed": "state=failed",
    "given up, of which there are none": "state=given-up",
    "failed, of a PDU": "pdu=pdu007&state=failed",
    "of a client": "client=10.0.3.1",
    "within 100 s, long ago": "since={since}&until={until}",
    "of a PDU, within a week": "pdu=pdu007&since={since}&until={later}",
    "a page in the middle": "after={middle}",
}


def measure(bench: Bench) -> None:
    """Ask for each, again and again."""
    count = 100_000 if bench.quick else 1_000_000
    folder = bench.folder / "history"
    bounds = {"history": 10_000_000}
    pdus = {f"pdu{number:03}": {"driver": "dummy"} for number in range(500)}
    with peers.ours(folder, pdus, **bounds):
        pass
    _remember(folder / "store.db", count)
    since = FIRST + count // 2
    times = {"since": since, "until": since + 100, "later": since + 604_800, "middle": count // 2}
    texts = {row: load.http_get(f"/api/v1/requests?{query.format(**times)}") for row, query in LOOKS.items()}
    with peers.ours(folder, pdus, **bounds) as server, closing(server.connect()) as connection:
        load.ask(connection, load.http_text("pdu000"))
        begin = time.monotonic()
        load.ask(connection, texts["of a PDU"])
        bench.add("before it is entered", "ours", ms=1000 * (time.monotonic() - begin))
        while _entered(connection, texts["of nobody"]) > 0.02:
            time.sleep(0.5)
        bench.add("all is entered", "ours", ms=1000 * (time.monotonic() - begin))
        for _ in range(bench.rounds):
            for row, text in texts.items():
                begin = time.monotonic()
                load.ask(connection, text)
                bench.add(row, "ours", ms=1000 * (time.monotonic() - begin))
    bench.table(["before it is entered", "all is entered", *LOOKS], ["ours"], ["ms"])
    for row in LOOKS:
        bench.judge(f"{row}, ms", bench.values[row, "ours", "ms"], most=1000 * MOST)


def _entered(connection: object, text: bytes) -> float:
    begin = time.monotonic()
    load.ask(connection, text)  # type: ignore[arg-type]
    return time.monotonic() - begin


def _remember(path: Path, count: int) -> None:
    """Put requests that have ended into a store."""
    names = (
        "id, action, target, all_outlets, delay, client, accepted, phase, outlets, started, ended, outcome, reason,"
        " boot, accepted_uptime, switched"
    )
    marks = ", ".join("?" * (names.count(",") + 1))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM request")
        database.executemany(f"INSERT INTO request ({names}) VALUES ({marks})", _rows(count))


def _rows(count: int) -> Iterator[tuple[object, ...]]:
    choice = random.Random(14)
    for number in range(1, count + 1):
        pdu, port = choice.randrange(500), choice.randrange(24) + 1
        place, when = f'[["pdu{pdu:03}", "{port}"]]', FIRST + number
        target = f"n{pdu}-{port} (pdu{pdu:03} port {port})" if number % 2 else f"pdu{pdu:03} port {port}"
        outcome, reason = ("failed", f"pdu{pdu:03}: no answer") if number % 1000 == 7 else ("done", None)
        action = ("on", "off", "reboot")[choice.randrange(3)]
        client = f"10.0.{number % 7}.1:{40000 + number % 20000}"
        switched = f'[["pdu{pdu:03}", "{port}", "on", {when}.0]]'
        yield (
            number, action, target, place, 0.0, client, when, "on", "[]", when, when + 1, outcome, reason,
            "boot", float(number), switched,
        )  # fmt: skip
