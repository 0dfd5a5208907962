# SPDX-License-Identifier: MIT
"""The rows of a store: how a request is spelled in one, read from one, and shown to people.

A `Snapshot` is what a request is at one moment. It is taken with the dispatcher's lock held and made a row without it:
spelling takes longer than copying. What never changes is read from the request itself.
"""

from __future__ import annotations

import functools
import json
import math
import sqlite3
from bisect import bisect_left
from collections.abc import Collection, Mapping
from itertools import chain, starmap
from typing import Any, NamedTuple

from pdudaemon.errors import PDUDaemonError, of_kind
from pdudaemon.power import Action, Asked, Command, Outcome, Outlet, Phase, Request, Soft, State, Target

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)  # of statements, in rows
SENSELESS = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)
"""What a row that makes no sense raises."""

_FIXED = ("id", "action", "target", "all_outlets", "delay", "client", "accepted", "command", "names", "key")
_CHANGING = (
    "phase", "outlets", "started", "off_ended", "ended", "outcome", "reason", "kind", "boot",
    "accepted_uptime",
    "off_ended_uptime", "debts", "switched", "soft",
)  # fmt: skip
_COLUMNS = (*_FIXED, *_CHANGING)
_DEFAULTS: Mapping[str, Any] = {  # of columns that a row of an earlier version does not have
    "boot": "", "accepted_uptime": 0.0, "off_ended_uptime": None, "debts": "[]", "switched": "[]",
    "command": None, "names": "[]", "key": None, "kind": None, "soft": None,
}  # fmt: skip
ADD_COMMAND = "INSERT INTO command (id, action, client, accepted, names, key) VALUES (?, ?, ?, ?, ?, ?)"
_PHASES = {Action.ON: (Phase.ON,), Action.OFF: (Phase.OFF,), Action.REBOOT: tuple(Phase)}

_quoted = json.encoder.encode_basestring_ascii  # a tenth of what json.dumps takes

Values = list[str | float | int | None]


class Snapshot(NamedTuple):
    """How far a request has come, at one moment, by the names that a request itself has for it."""

    request: Request
    phase: Phase
    remaining: tuple[Outlet, ...]
    started: float | None
    off_ended: float | None
    ended: float | None
    outcome: Outcome | None
    error: PDUDaemonError | None
    boot: str
    accepted_uptime: float
    off_ended_uptime: float | None
    debts: tuple[Outlet, ...]
    switched: dict[Outlet, tuple[State, float]]
    soft: Soft | None


def taken(request: Request) -> Snapshot:
    """Return what a request is now. The dispatcher's lock is held."""
    return Snapshot(
        request,
        request.phase,
        tuple(request.remaining),
        request.started,
        request.off_ended,
        request.ended,
        request.outcome,
        request.error,
        request.boot,
        request.accepted_uptime,
        request.off_ended_uptime,
        tuple(request.debts),
        request.switched.copy(),
        None if request.soft is None else request.soft.copy(),
    )


def values(request: Request, now: Snapshot | Request, number: int, command: int | None) -> Values:
    """Return the values of a row, for `upsert`: those of a request that has a number, in a command or in none.

    ``now`` is how far it has come: the request itself while nobody else knows it.
    """
    target = request.target
    if not target.spelled:
        target.spelled.append(_spelled(target.outlets))
    every, error = target.spelled[0], now.error
    return [
        number,
        request.action.value,
        target.name,
        every,
        request.delay,
        request.client,
        request.accepted,
        command,
        json.dumps(request.names) if request.names else "[]",
        request.key or None,
        now.phase.value,
        every if len(now.remaining) == len(target.outlets) else _spelled(now.remaining) if now.remaining else "[]",
        now.started,
        now.off_ended,
        now.ended,
        None if now.outcome is None else now.outcome.value,
        None if error is None else error.told,
        None if error is None else error.kind,
        now.boot,
        now.accepted_uptime,
        now.off_ended_uptime,
        _spelled(now.debts) if now.debts else "[]",
        f"[{', '.join(starmap(_spelled_told, now.switched.items()))}]" if now.switched else "[]",
        None if now.soft is None else _spelled_soft(now.soft),
    ]


def upsert(rows: list[Values]) -> tuple[str, Values]:
    """Return the statement that adds rows, or writes down how far their requests have come since, and its values.

    There are at most as many as the last of `SIZES`. The last row is repeated, which changes nothing, up to one of
    these: SQLite keeps each statement that it has compiled, of which one for each number would take 16 MiB.
    """
    size = SIZES[bisect_left(SIZES, len(rows))]
    return _upsert(size), [*chain(*rows, *rows[-1:] * (size - len(rows)))]


@functools.cache
def _upsert(rows: int) -> str:
    row = f"({', '.join('?' * len(_COLUMNS))})"
    change = ", ".join(f"{name}=excluded.{name}" for name in _CHANGING)
    return (
        f"INSERT INTO request ({', '.join(_COLUMNS)}) VALUES {', '.join([row] * rows)}"
        f" ON CONFLICT (id) DO UPDATE SET {change}"
    )


def command_values(command: Command, number: int) -> Values:
    """Return the values of a command's row, for `ADD_COMMAND`."""
    names = json.dumps(command.names)
    return [number, command.action.value, command.client, command.accepted, names, command.key or None]


def without_halves(row: Values) -> Values:
    """Return values that can be written: without half a character, in a name that a token has, say."""
    return [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in row]


def _spelled(outlets: Collection[Outlet]) -> str:
    """Return outlets as they are kept: a PDU and a port, and how that was given where the driver wants to know."""
    return f"[{', '.join(map(_spelled_one, outlets))}]"


def _spelled_one(outlet: Outlet) -> str:
    given = "" if outlet.given is None else f", {json.dumps(outlet.given)}"
    return f"[{_quoted(outlet.pdu)}, {_quoted(outlet.port)}{given}]"


def _spelled_told(outlet: Outlet, told: tuple[State, float]) -> str:
    state, when = told
    return f'[{_quoted(outlet.pdu)}, {_quoted(outlet.port)}, "{state.value}", {when!r}]'


def _spelled_soft(soft: Soft) -> str:
    asked = [[*outlet, *each] for outlet, each in soft.asked.items()]
    became = [[*outlet, said] for outlet, said in soft.became.items()]
    return json.dumps({"seconds": soft.seconds, "hard": soft.hard, "asked": asked, "became": became})


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
    paying = row["ended"] is None and outcome in (Outcome.FAILED, Outcome.SUPERSEDED, Outcome.GIVEN_UP)
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
