# SPDX-License-Identifier: MIT
"""What the journal is sent: the line that each request has at its end, with what it is about in fields of their own."""

from __future__ import annotations

import logging
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdudaemon.journal import Journal
from pdudaemon.logs import LineFormatter, LogWriter
from pdudaemon.power import Action, Command, Outlet, Submission, Target
from tests.support.rack import Rack, awaited, submitted

Entry = dict[str, list[str]]


def read(data: bytes) -> Entry:
    """Take an entry apart, as https://systemd.io/JOURNAL_NATIVE_PROTOCOL has it."""
    found: Entry = defaultdict(list)
    while data:
        line, _, data = data.partition(b"\n")
        name, sign, value = line.partition(b"=")
        if not sign:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[8 + length :]
            assert data[:1] == b"\n"
            data = data[1:]
        assert name.decode().replace("_", "").isupper() and name[:1] != b"_"
        found[name.decode()].append(value.decode())
    return found


class Journald:
    """A socket such as the journal has."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60)

    def entry(self, name: str = "MESSAGE", value: str = "") -> Entry:
        """Return the next entry that has a field with such a value."""
        while True:
            found = read(self.socket.recv(1 << 20))
            if any(value in each for each in found[name]):
                return found


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    """The journal, to which everything is logged."""
    there = Journald(tmp_path / "socket")
    writer = LogWriter(to=Journal(str(tmp_path / "socket")))
    writer.setFormatter(LineFormatter(journal=True))
    logger = logging.getLogger("pdud")
    level = logger.level
    logger.addHandler(writer)
    logger.setLevel(logging.INFO)
    yield there
    logger.removeHandler(writer)
    logger.setLevel(level)
    writer.close()
    there.socket.close()


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    found = Rack(tmp_path, {"apc7": {}, "other": {}})
    yield found
    found.stop()


def test_a_request_is_one_entry_with_all_that_it_was_about(rack: Rack, journald: Journald) -> None:
    target = Target("board7 (apc7 port 1, other port 2)", (Outlet("apc7", "1"), Outlet("other", "2")))
    wanted = Submission(Action.ON, target, 0.0, "[fe80::1]:5000 (ann)", "fe80::1")
    (request,) = rack.dispatcher.submit([wanted])
    awaited(rack.dispatcher, request, 60)  # type: ignore[arg-type]
    entry = journald.entry("RESULT")
    took = float(entry.pop("DURATION")[0])
    assert 0 <= took < 60
    (message,) = entry.pop("MESSAGE")
    assert message.startswith(
        "pdud.requests: request 1: on board7 (apc7 port 1, other port 2) for [fe80::1]:5000 (ann) done after "
    )
    assert entry == {
        "PRIORITY": ["6"],
        "SYSLOG_IDENTIFIER": ["pdudaemon"],
        "LOGGER": ["pdud.requests"],
        "REQUEST": ["1"],
        "ACTION": ["on"],
        "TARGET": [target.name],
        "PDU": ["apc7", "other"],
        "OUTLET": ["apc7:1", "other:2"],
        "NODE": ["board7"],
        "CLIENT": ["fe80::1"],
        "CLIENT_NAME": ["ann"],
        "RESULT": ["done"],
    }


def test_a_failure_says_why_and_weighs_more(rack: Rack, journald: Journald) -> None:
    rack.refusing.add(("apc7", "off"))
    submitted(rack.dispatcher, Action.OFF, rack.target("apc7"), client="10.0.0.7:1")
    entry = journald.entry("RESULT")
    assert (entry["RESULT"], entry["REASON"], entry["PRIORITY"]) == (["failed"], ["apc7: refused"], ["4"])
    assert (entry["CLIENT"], entry["NODE"]) == (["10.0.0.7"], ["apc7"])


def test_the_nodes_of_a_command_are_named(rack: Rack, journald: Journald) -> None:
    wanted = Submission(Action.ON, rack.target("apc7"), names=("n1", "n2"))
    rack.dispatcher.submit([wanted], Command(Action.ON, "", 1.0, ("n1", "n2")))
    entry = journald.entry("RESULT")
    assert entry["COMMAND"] == ["1"] and entry["NODE"][:2] == ["n1", "n2"]


def test_what_others_say_cannot_make_a_field(rack: Rack, journald: Journald) -> None:
    target = Target("x\nPDU=forged\0", (Outlet("apc7", "1\nPDU=forged"),))
    wanted = Submission(Action.ON, target, client="evil\nRESULT=done (x)")
    (request,) = rack.dispatcher.submit([wanted])
    awaited(rack.dispatcher, request, 60)  # type: ignore[arg-type]
    entry = journald.entry("RESULT")
    assert entry["PDU"] == ["apc7"] and entry["RESULT"] == ["done"]
    assert entry["MESSAGE"][0].isprintable() and entry["OUTLET"] == ["apc7:1 PDU=forged"]


def test_a_traceback_is_one_entry_of_several_lines(journald: Journald) -> None:
    try:
        raise ZeroDivisionError("a\nb")
    except ZeroDivisionError:
        logging.getLogger("pdud.lab").exception("a fault")
    lines = journald.entry(value="a fault")["MESSAGE"][0].split("\n")
    assert lines[0] == "pdud.lab: a fault" and lines[1] == "  Traceback (most recent call last):" and len(lines) > 3


def test_without_a_journal_it_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = LogWriter(to=Journal(str(tmp_path / "nothing")))
    writer.setFormatter(LineFormatter(journal=True))
    writer.emit(logging.LogRecord("lab", logging.WARNING, "", 0, "word", (), None))
    writer.close()
    assert capsys.readouterr().err == "<4>lab: word\n"
