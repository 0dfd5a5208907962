# SPDX-License-Identifier: MIT
"""What a command made by ``POST /api/v1/requests`` is told to be, without a socket: by its nodes, and as a whole.

With a daemon it is tried in `test_newrequests`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import Locked, NotDone, PDUDaemonError, RequestError, TransientError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, Soft, Target
from pdudaemon.server.messages import Answer
from pdudaemon.server.newrequests import _Telling

ACCEPTED = 1000.0


class Exchange:
    """Who asks, and what he is answered: status, body and headers."""

    config = None

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, Any]] = []

    def answer(self, answer: Answer) -> None:
        self.answers.append((answer.status, answer.body, answer.headers))

    def refuse(self, error: PDUDaemonError, headers: Any, told: Any) -> None:
        self.answers.append((error.http_status, {**told, "detail": str(error)}, headers))


def request(outcome: Outcome | None = None, soft: Soft | None = None) -> Request:
    found = Request(Action.OFF, Target("x", (Outlet("pdu", "1"),)), 0, "", ACCEPTED, Phase.OFF, soft=soft)
    found.id = 7
    found.outcome = outcome
    found.ended = None if outcome is None else ACCEPTED + 5
    return found


def told(
    *entries: tuple[PDUDaemonError | None, Request | None],
    command: int | None = 3,
    waited: bool = True,
    began: float | None = None,
) -> tuple[int, Any, Any]:
    """Return what is answered for nodes ``n0``, ``n1``…, of each of which it is told what became of it."""
    exchange: Any = Exchange()
    telling = _Telling(exchange, Action.OFF, [f"n{number}" for number in range(len(entries))], waited, began)
    telling.begin(command)
    for number, (error, of) in enumerate(entries):
        telling.entry(f"n{number}", error, of)
    (answer,) = exchange.answers
    return answer


@pytest.mark.parametrize(
    ("waited", "outcome", "status", "state"),
    [
        (True, Outcome.DONE, 201, "done"),
        (True, None, 201, "done"),  # it is told before it is written
        (False, None, 202, "accepted"),
        (False, Outcome.SUPERSEDED, 202, "superseded"),
    ],
)
def test_what_is_done_or_accepted(waited: bool, outcome: Outcome | None, status: int, state: str) -> None:
    one = request(outcome)
    assert told((None, one), waited=waited) == (
        status,
        {
            "command": 3,
            "action": "off",
            "nodes": [{"name": "n0", "request": 7, "state": state, "ended": one.ended, "reason": None}],
        },
        {"X-Command-Id": "3", "Location": "/api/v1/commands/3"},
    )


def test_what_is_about_to_end_has_been_accepted() -> None:
    one = request(Outcome.SUPERSEDED)
    one.ended = None
    assert told((None, one), waited=False)[1]["nodes"][0]["state"] == "accepted"


@pytest.mark.parametrize(("began", "status"), [(None, 201), (ACCEPTED - 1, 201), (ACCEPTED, 201), (ACCEPTED + 1, 200)])
def test_what_was_accepted_before_by_the_same_key_is_not_created(began: float | None, status: int) -> None:
    one = (None, request(Outcome.DONE))
    assert told(one, one, began=began)[0] == status
    refused = (TransientError("no"), None)
    assert told(refused, one, refused, waited=False, began=began)[0] == {201: 202}.get(status, 200)


@pytest.mark.parametrize(("said", "reason"), [("shut down after 3 s", "shut down after 3 s"), ("", None)])
def test_how_softly_a_machine_was_switched_off(said: str, reason: str | None) -> None:
    soft: Any = SimpleNamespace(said=said)
    assert told((None, request(Outcome.DONE, soft)))[1]["nodes"][0]["reason"] == reason


def test_the_worst_that_came_of_it_is_the_answer_and_each_node_has_its_own() -> None:
    errors = [
        (NotDone("n0: not done after 2 s"), request()),
        (RequestError("there is no alias or node 'n1'"), None),
        (None, request(Outcome.DONE)),
        (TransientError("n3: refused"), request(Outcome.FAILED)),
    ]
    status, body, headers = told(*errors)
    assert (status, body["detail"]) == (504, "n0: not done after 2 s")
    assert headers == {"X-Command-Id": "3", "Location": "/api/v1/commands/3"}
    assert [(each["request"], each["state"], each["reason"]) for each in body["nodes"]] == [
        (7, "accepted", "not done after 2 s"),
        (None, "refused", "there is no alias or node 'n1'"),
        (7, "done", None),
        (7, "failed", "refused"),
    ]


def test_what_there_is_not_is_no_fault_of_the_daemon() -> None:
    wrong = (RequestError("there is no alias or node 'n0'"), None)
    status, body, headers = told(wrong, command=None, waited=False)
    assert (status, body["command"], headers) == (422, None, {})
    assert told((Locked("n0 is locked"), None), command=None)[0] == 403
    assert told(wrong, (None, request()), waited=False)[0] == 202
