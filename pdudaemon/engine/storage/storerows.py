# SPDX-License-Identifier: MIT
"""The rows of a store, which `store` writes: how a request is read from one, and shown to people."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from typing import Any

from pdudaemon.errors import of_kind
from pdudaemon.power import Action, Asked, Command, Outcome, Outlet, Phase, Request, Soft, State, Target

SENSELESS = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)
"""What a row that makes no sense raises."""

_DEFAULTS: Mapping[str, Any] = {  # of columns that a row of an earlier version does not have
    "boot": "", "accepted_uptime": 0.0, "off_ended_uptime": None, "debts": "[]", "switched": "[]",
    "command": None, "names": "[]", "key": None, "kind": None, "soft": None,
}  # fmt: skip
_PHASES = {Action.ON: (Phase.ON,), Action.OFF: (Phase.OFF,), Action.REBOOT: tuple(Phase)}


def _soft_of(text: str | None) -> Soft | None:
    """Return how softly a request goes about it. Raises: one of `SENSELESS`."""
    if text is None:
        return None
    found = json.loads(text)
    asked = {Outlet(pdu, port): Asked(*each) for pdu, port, *each in found["asked"]}
    became = {Outlet(pdu, port): said for pdu, port, said in found["became"]}
    return Soft(found["seconds"], found["hard"], asked, became)


def outlets_of(text: str) -> list[Outlet]:
    """Return outlets from how they are kept. Raises: one of `SENSELESS`."""
    return [Outlet(*pair) for pair in json.loads(text)]


def request_of(row: sqlite3.Row, latest: float = 0.0) -> Request:
    """Return the request that a row holds: a debt is never done with. Raises: one of `SENSELESS`."""
    found: Mapping[str, Any] = {**_DEFAULTS, **dict(row)}
    debts = outlets_of(found["debts"])
    return Request(
        action=Action(found["action"]),
        target=Target(found["target"], tuple(outlets_of(found["all_outlets"]))),
        delay=found["delay"],
        client=found["client"],
        accepted=found["accepted"],
        phase=Phase(found["phase"]),
        id=found["id"],
        boot=found["boot"],
        accepted_uptime=found["accepted_uptime"],
        latest=latest,
        command=found["command"],
        names=names_of(found),
        key=found["key"] or "",
        debts=set(debts),
        remaining=[*dict.fromkeys((*outlets_of(found["outlets"]), *debts))],
        started=found["started"],
        off_ended=found["off_ended"],
        off_ended_uptime=found["off_ended_uptime"],
        outcome=Outcome(found["outcome"]) if found["outcome"] else None,
        switched={Outlet(pdu, port): (State(state), when) for pdu, port, state, when in json.loads(found["switched"])},
        soft=_soft_of(found["soft"]),
        ended=found["ended"],
        error=of_kind(found["kind"], found["reason"]) if found["reason"] else None,
        settled=found["ended"] is not None,
    )


def check(row: sqlite3.Row) -> None:
    """Raises: one of `SENSELESS` if a row makes no sense."""
    request = request_of(row)
    for value in tuple(row):
        if isinstance(value, bytes) or (isinstance(value, str) and value.encode().decode() != value):
            raise ValueError("what should be text is none")
    times = [request.delay, request.accepted, *(when for _, when in request.switched.values())]
    times += [each for each in (request.started, request.off_ended, row["ended"]) if each is not None]
    soft = request.soft or Soft(0.0)
    times += [soft.seconds, *(each.until for each in soft.asked.values())]
    uptimes = [each.until_uptime for each in soft.asked.values()]
    uptimes += [request.accepted_uptime, request.off_ended_uptime or 0.0]  # negative: before the machine's last start
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in (*times, *uptimes)) or min(times) < 0:
        raise ValueError("a time is none")
    if not isinstance(request.command, int | None):
        raise ValueError("its command is none")
    every = request.target.outlets
    some = {*request.remaining} | request.debts | {*request.switched} | {*soft.asked} | {*soft.became}
    if not every or not some <= {*every} or not all(isinstance(word, str) for outlet in every for word in outlet):
        raise ValueError("its outlets are none")
    if request.phase not in _PHASES.get(request.action, ()):
        raise ValueError(f"{request.action} and {request.phase} do not go together")
    said = [*(each.complaint for each in soft.asked.values()), *soft.became.values()]
    if not isinstance(soft.hard, bool) or not all(isinstance(each, str) for each in said):
        raise ValueError("how it shuts down is none")
    outcome = row["outcome"]
    paying = outcome in (Outcome.FAILED, Outcome.SUPERSEDED, Outcome.GIVEN_UP)
    if (row["ended"] is None) != (outcome is None) and not paying:
        raise ValueError("it has ended and has not")


def names_of(row: Mapping[str, Any] | sqlite3.Row) -> tuple[str, ...]:
    """Return the names in a row, of a request or a command. Raises: one of `SENSELESS`."""
    return names_in(row["names"])


def names_in(text: str) -> tuple[str, ...]:
    """Return the names that a text holds. Raises: one of `SENSELESS`."""
    names = tuple(json.loads(text))
    if not all(isinstance(name, str) for name in names):
        raise ValueError("its names are none")
    return names


def command_of(row: sqlite3.Row) -> Command:
    """Return the command that a row holds. Raises: one of `SENSELESS`."""
    return Command(
        action=Action(row["action"]),
        client=row["client"],
        accepted=row["accepted"],
        names=names_of(row),
        key=row["key"] or "",
        id=row["id"],
    )


def record_of(row: sqlite3.Row) -> dict[str, Any]:
    """Return a request as a record for people, as much of it as makes sense. Any thread, no lock."""
    reason = row["reason"]
    outlets: list[dict[str, str]] = []
    switched: list[dict[str, str]] = []
    owed: list[dict[str, str]] = []
    soft: Soft | None = None
    try:
        outlets = [outlet._asdict() for outlet in outlets_of(row["all_outlets"])]
        owed = [outlet._asdict() for outlet in outlets_of(row["debts"])]
        told = json.loads(row["switched"])
        switched = [{"pdu": pdu, "port": port, "state": state} for pdu, port, state, _ in told]
        if (soft := _soft_of(row["soft"])) is not None:
            reason = reason or soft.said or None
    except SENSELESS as error:
        reason = f"the record makes no sense: {error}"[:200]
    return {
        "id": row["id"],
        "action": row["action"],
        "target": row["target"],
        "outlets": outlets,
        "delay": row["delay"],
        "client": row["client"],
        "accepted": row["accepted"],
        "ended": row["ended"],
        "switched": switched,
        "owed": owed,
        "state": "accepted" if row["ended"] is None else row["outcome"],
        "reason": reason,
        "command": row["command"],
        "soft": None if soft is None else soft.seconds,
        "hard": None if soft is None else soft.hard,
        "due": None,
    }
