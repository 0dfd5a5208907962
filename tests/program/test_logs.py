# SPDX-License-Identifier: MIT
"""`LogWriter` and `LineFormatter`: one bounded line for whatever is logged, and nobody waits until it is written."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon import logs
from pdudaemon.errors import LONGEST
from pdudaemon.logs import LineFormatter, LogWriter
from pdudaemon.power import Action
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

HOSTILE = [
    "a\nb",
    "\x1b[2J\x1b]0;x\x07",
    "\r\n2026-01-01 INFO pdud: forged",
    "\u2028\u202e\x85",
    "\ud800",
    "x" * 10000,
    "\0",
]


class Silly:
    """What a third-party driver may log."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[logging.Logger, LogWriter, Path]]:
    """A logger that writes to a file by a writer of its own."""
    path = tmp_path / "log"
    writer = LogWriter(str(path))
    writer.setFormatter(LineFormatter(journal=False))
    logger = logging.Logger("lab")
    logger.addHandler(writer)
    yield logger, writer, path
    writer.close()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("journal", [False, True])
def test_a_message_is_one_bounded_printable_line(value: str, journal: bool) -> None:
    record = logging.LogRecord("lab", logging.INFO, "", 0, "from %s: %s", (value, value), None)
    line = LineFormatter(journal).format(record)
    assert line.isprintable() and len(line) < LONGEST + 200
    assert value[:1] in line or repr(value)[1:3] in line


def test_a_traceback_is_bounded_and_shows_what_it_is() -> None:
    try:
        raise ZeroDivisionError("\n".join(["first", "2026-01-01 INFO pdud: forged", "\x1b[2J", "x" * 10000]))
    except ZeroDivisionError:
        record = logging.LogRecord("lab", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    lines = LineFormatter(journal=True).format(record).split("\n")
    assert all(line.startswith("<3>") and line.isprintable() and len(line) < LONGEST + 200 for line in lines)
    assert not [line for line in lines if line.startswith("<3>2026")]
    assert any("ZeroDivisionError" in line for line in lines)


@pytest.mark.parametrize(
    ("level", "mark"), [("DEBUG", "<7>"), ("INFO", "<6>"), ("WARNING", "<4>"), ("ERROR", "<3>"), ("CRITICAL", "<2>")]
)
def test_the_journal_is_told_how_grave_it_is(level: str, mark: str) -> None:
    record = logging.LogRecord("lab", getattr(logging, level), "", 0, "word", None, None)
    assert LineFormatter(journal=True).format(record) == f"{mark}lab: word"


def test_all_that_waits_is_written_at_the_end(log: tuple[logging.Logger, LogWriter, Path]) -> None:
    logger, writer, path = log
    for number in range(1000):
        logger.info("line %d", number)
    writer.close()
    assert [line.rpartition(" ")[2] for line in path.read_text().splitlines()] == [str(each) for each in range(1000)]


@pytest.mark.parametrize(
    "arguments", [("%d", "x"), ("%s",), ("%s %s", 1), ("%s", Silly()), (Silly(),), ("%(name)s", 1)]
)
def test_a_line_that_cannot_be_put_into_words_hurts_nobody(
    log: tuple[logging.Logger, LogWriter, Path], arguments: tuple[Any, ...]
) -> None:
    """Third-party drivers log as well; with the standard library's handlers this is no error of theirs."""
    logger, writer, path = log
    logger.info(*arguments)
    logger.info("next")
    writer.close()
    first, second = path.read_text().splitlines()
    assert second.endswith("next") and "lab" in first


def test_what_is_logged_is_what_was_at_that_moment(log: tuple[logging.Logger, LogWriter, Path]) -> None:
    logger, writer, path = log
    words = ["before"]
    logger.info("%s", words)
    words[:] = ["after"]
    writer.close()
    assert "before" in path.read_text() and "after" not in path.read_text()


@pytest.mark.parametrize("instead", [None, io.StringIO()])
def test_a_driver_that_puts_something_in_place_of_standard_error_has_no_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, instead: io.StringIO | None
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    writer = LogWriter()
    writer.setFormatter(LineFormatter(journal=False))
    logger = logging.Logger("lab")
    logger.addHandler(writer)
    monkeypatch.setattr(sys, "stderr", instead)
    logger.info("line")
    writer.close()
    assert "lab: line" in written.getvalue() and not (instead and instead.getvalue())


def test_a_log_that_takes_nothing_stalls_no_pdu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_WAITING", 100)
    reading, writing = os.pipe()
    full = open(writing, "w", buffering=1)  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", full)
    writer = LogWriter()
    writer.setFormatter(LineFormatter(journal=False))
    logger = logging.getLogger("pdud")
    monkeypatch.setattr(logger, "propagate", False)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(writer)
    rack = Rack(tmp_path, {"pdu": {}})
    try:
        for _ in range(50):
            logger.info("x" * 3000)  # more than a pipe holds
        eventually(lambda: writer._writing.locked())
        for _ in range(200):
            assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30)
        assert rack.seen["pdu"] == "o" * 200 and len(writer._waiting) <= 100
    finally:
        rack.stop()
        logger.removeHandler(writer)
        logger.setLevel(level)
        found = io.StringIO()
        reader = threading.Thread(target=lambda: found.writelines(open(reading, encoding="utf-8")))  # noqa: SIM115
        reader.start()
        writer._thread.join(0)
        writer.close()
        writer._thread.join(60)
        full.close()
        reader.join(60)
    assert "lines of the log were lost" in found.getvalue()
