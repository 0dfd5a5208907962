# SPDX-License-Identifier: MIT
"""Rows: what is written of a request is what is read of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from pdudaemon.engine.storage import storerows, storeschema
from pdudaemon.engine.storage.store import upsert, values
from pdudaemon.errors import DeviceTimeout
from pdudaemon.power import Outcome, Outlet, Phase, Request, State
from tests.support.stores import ACCEPTED, asked, end

ODD = [
    Outlet("Küche", 'Plug "1"'),
    Outlet("x", "half \udc00"),
    Outlet("\U0001f50c", "[2]\\", "02"),
    Outlet("x", "3", 3),
]


def written(request: Request, number: int = 7) -> Request:
    """Write a request into a database and read it."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(storeschema.fresh())
        database.row_factory = sqlite3.Row
        for _ in range(2):
            row = values(request, request, number, request.command)
            database.execute(upsert(1), row)
        (row,) = database.execute("SELECT * FROM request")
        storerows.check(row)
        return storerows.request_of(row, 5.0)


def test_all_of_a_request_is_read_as_it_was() -> None:
    request = asked(
        "reboot", *ODD, delay=3.5, phase=Phase.ON, command=3, names=("n1", "Küche"), key="k", boot="b", accepted_uptime=-2.5,
        started=ACCEPTED, off_ended=ACCEPTED + 1, off_ended_uptime=9.25,
    )  # fmt: skip
    request.debts, request.remaining = {ODD[3]}, [*ODD[2:]]
    request.switched = {ODD[0]: (State.ON, ACCEPTED), ODD[1]: (State.UNKNOWN, ACCEPTED + 0.125)}
    found = written(request)
    for name in (
        "action", "delay", "client", "accepted", "phase", "command", "names", "key", "boot", "accepted_uptime", "debts",
        "remaining", "started", "off_ended", "off_ended_uptime", "ended", "outcome", "switched",
    ):  # fmt: skip
        assert getattr(found, name) == getattr(request, name), name
    assert [outlet.given for outlet in found.target.outlets] == [None, None, "02", 3]
    assert (found.id, found.latest, found.target.outlets) == (7, 5.0, request.target.outlets)


def test_why_it_failed() -> None:
    request = end(asked("on"))
    request.outcome, request.error = Outcome.FAILED, DeviceTimeout("no answer", private="printed")
    found = written(request)
    assert found.error is not None and str(found.error) == "no answer: printed" and found.outcome is Outcome.FAILED


@pytest.mark.parametrize("many", [1, 2, 4])
def test_outlets_are_spelled_as_json_with_blanks(many: int) -> None:
    """The look for outlets in damaged pages needs them to be."""
    outlets = ODD[:many]
    request = asked("on", *outlets)
    row = values(request, request, 1, None)
    spelled = json.dumps([[*each] if each.given is None else [*each, each.given] for each in outlets])
    assert row[3] == spelled and row.count(spelled) == 2


def test_what_never_changes_is_not_written_again() -> None:
    statement = upsert(3)
    change = statement.partition("DO UPDATE SET ")[2]
    for name in ("action", "target", "all_outlets", "delay", "client", "accepted=", "command", "names", "key"):
        assert f" {name}" not in f" {change}"
