# SPDX-License-Identifier: MIT
"""What is said of a request and of each of its feeds, for clients that accept JSON."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import NoSuchRequest, PDUDaemonError, StoreError, TransientError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Reading, Request, State, Target
from pdudaemon.server.control import _described, became, feeds, record
from pdudaemon.server.rights import EVERYTHING

A, B, C = (Outlet(pdu, "1") for pdu in "abc")


def asked(*outlets: Outlet) -> Request:
    return Request(Action.OFF, Target("x", outlets), 0, "", 0.0, Phase.OFF, id=7, remaining=[*outlets])


def test_a_single_outlet_is_what_the_request_is() -> None:
    assert feeds(asked(A)) == {}


def test_each_feed_is_done_or_says_why_not() -> None:
    """Done is what has ended well, and is not to be switched once more."""
    request = asked(A, B, C)
    assert feeds(request) == {
        "feeds": [{"pdu": pdu, "port": "1", "done": False, "reason": None} for pdu in "abc"],
    }
    request.results = {A: None, B: TransientError("refused"), C: None}
    request.remaining = [C]
    assert [(each["done"], each["reason"]) for each in feeds(request)["feeds"]] == [
        (True, None),
        (False, "refused"),
        (False, None),
    ]


class Records:
    """What is on record, or why it cannot be read."""

    def __init__(self, found: dict[str, Any] | PDUDaemonError) -> None:
        self._found = found

    def record(self, number: int) -> dict[str, Any]:
        assert number == 7
        if isinstance(self._found, PDUDaemonError):
            raise self._found
        return self._found


def exchange(found: dict[str, Any] | PDUDaemonError) -> Any:
    return SimpleNamespace(rights=EVERYTHING, dispatcher=Records(found))


@pytest.mark.parametrize("error", [NoSuchRequest("gone"), StoreError("no disk")])
def test_what_cannot_be_read_is_not_undone(error: PDUDaemonError) -> None:
    assert record(exchange(error), 7, Outcome.DONE) == {"id": 7, "state": "done"}
    assert record(exchange(error), 7, None) == {"id": 7, "state": "accepted"}
    assert record(exchange({"id": 7, "state": "running"}), 7, None) == {"id": 7, "state": "running"}
    request = asked(A)
    request.outcome = Outcome.FAILED
    assert became(exchange(error), request) == {"id": 7, "state": "failed"}


def test_what_a_feed_says_of_itself() -> None:
    place = {"pdu": "a", "port": "1"}
    found = _described(A, Reading(State.ON, "device", 5.0))
    assert found == {**place, "state": "on", "source": "device", "time": 5.0}
    assert _described(A, TransientError("deaf")) == {**place, "state": "unknown", "reason": "deaf"}
