# SPDX-License-Identifier: MIT
"""The nouns: what is switched, what was asked for, and how far it has come.

A request asks for one action on one target. It is carried out in phases of steps, one step for each outlet: ``on`` and
``off`` are one phase; ``reboot`` is a phase of offs and then, ``delay`` seconds after the last off ended, a phase of
ons; a driver whose device restarts by itself makes it one phase of its own.

Fields of a `Request` and its steps belong to the dispatcher and change only under its lock.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, Self

from pdudaemon.errors import PDUDaemonError, both

BY_NAME = "name:"  # what a port begins with that is spelled by the name which the device has for it
_LONGEST_SHOWN = 100  # characters of a port, which a driver of the existing daemon takes in any length


class Action(StrEnum):
    """What can be asked of a target."""

    ON = "on"
    OFF = "off"
    REBOOT = "reboot"
    STATUS = "status"


SHUTDOWN = "shutdown"
"""What a driver is told to ask a machine to shut down; no action, but the beginning of an off."""


class State(StrEnum):
    """What an outlet can be. Unknown is never reported as off."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class _Place(NamedTuple):
    pdu: str
    port: str


class Outlet(_Place):
    """One port of one PDU; ``port`` is in the driver's canonical form.

    ``given`` is the port as whoever asked spelled it, where the driver is to have that (it was written for the existing
    daemon), else None. It does not tell outlets apart: one outlet may have several spellings.
    """

    given: str | int | None

    def __new__(cls, pdu: str, port: str, given: str | int | None = None) -> Self:
        self = super().__new__(cls, pdu, port)
        self.given = given
        return self

    def __str__(self) -> str:
        port = self.port if self.port.isprintable() else ascii(self.port)[1:-1]
        return f"{self.pdu} port {port if len(port) <= _LONGEST_SHOWN else port[:_LONGEST_SHOWN] + '...'}"


@dataclass(frozen=True)
class Target:
    """What a request names: ``name`` for people (``pdu01 port 3``, or a node), and the outlets behind it.

    ``locked`` says what of it may not be switched. ``words`` are those that were looked up, a node or a PDU and a port,
    in the configuration whose mark ``found_in`` is; none of both for a target of the store.
    """

    name: str
    outlets: tuple[Outlet, ...]
    locked: str = ""
    words: tuple[str] | tuple[str, str | int] | tuple[()] = field(default=(), compare=False)
    found_in: object = field(default=None, compare=False, repr=False)
    parts: tuple[Target, ...] = field(default=(), compare=False)  # looked up one by one
    spelled: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    """The outlets as the store keeps them, once it has spelled them."""
    pdus: tuple[str, ...] = field(default=(), init=False, compare=False)
    """The PDUs of the outlets, each once."""
    by_name: bool = field(default=False, init=False, compare=False)
    """Whether an outlet may be spelled by its name on the device, which only the running daemon knows."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pdus", tuple(dict.fromkeys([outlet.pdu for outlet in self.outlets])))
        object.__setattr__(self, "by_name", any(outlet.port.startswith(BY_NAME) for outlet in self.outlets))

    @classmethod
    def joined(cls, parts: Sequence[Target]) -> Target:
        """Return one target that is all of some targets, each outlet once."""
        if len(parts) == 1:
            return parts[0]
        outlets = dict.fromkeys(outlet for part in parts for outlet in part.outlets)
        locked = next((part.locked for part in parts if part.locked), "")
        return cls(", ".join(part.name for part in parts), tuple(outlets), locked, parts=tuple(parts))


@dataclass(frozen=True)
class Reading:
    """The state of an outlet and where it comes from; of a node with several ``feeds``, it is on if one of them is.

    ``source`` is ``device`` (read just now), ``commanded`` (the device cannot say: what it was last told to be) or
    ``none``; ``time`` is when, in seconds since the epoch, None with ``none``.
    """

    state: State
    source: str
    time: float | None
    feeds: tuple[tuple[Outlet, Reading | PDUDaemonError], ...] = ()

    @property
    def mixed(self) -> str:
        """What each feed is, if they differ or one of them did not tell; else empty."""
        if len({each.state if isinstance(each, Reading) else State.UNKNOWN for _, each in self.feeds}) < 2:
            return ""
        said = [f"{outlet} is {each.state}" if isinstance(each, Reading) else each.told for outlet, each in self.feeds]
        return "; ".join(said)


def together(feeds: Sequence[tuple[Outlet, Reading | PDUDaemonError]]) -> Reading | PDUDaemonError:
    """Return the state of a node by that of its feeds, or why it is not known, if a feed did not tell."""
    readings = [each for _, each in feeds if isinstance(each, Reading)]
    troubles = [each for _, each in feeds if isinstance(each, PDUDaemonError)]
    states = {each.state for each in readings} | ({State.UNKNOWN} if troubles else set())
    state = next(each for each in (State.ON, State.UNKNOWN, State.OFF) if each in states)
    if troubles and state is State.UNKNOWN:
        return functools.reduce(both, troubles)
    order = ("none", "commanded", "device")
    if state is State.ON:  # of those that are on, one that is known to be is enough
        sources, order = {each.source for each in readings if each.state is state}, order[::-1]
    else:
        sources = {each.source for each in readings}
    source = next(each for each in order if each in sources)
    times = [each.time for each in readings if each.time is not None]
    return Reading(state, source, min(times, default=None), tuple(feeds))


Waiter = Callable[["Request", PDUDaemonError | None], None]
"""Is told, once, what became of a request: why it failed, or that it goes on; None: it is done."""


@dataclass(slots=True)
class Submission:
    """What is to be accepted: ``delay`` in seconds before an on or off, or between the halves of a reboot.

    ``waiter`` is told what becomes of it. ``names`` are those that it goes by in a command over several nodes;
    ``key`` is its idempotency key. ``soft`` and ``hard`` are as in `Soft`; None: machines are not asked to shut down.
    """

    action: Action
    target: Target
    delay: float = 0.0
    client: str = ""
    address: str = ""
    waiter: Waiter | None = None
    names: tuple[str, ...] = ()
    key: str = ""
    soft: float | None = None
    hard: bool = True


class Asked(NamedTuple):
    """Until when a machine that was asked to shut down has time for it: in seconds since the epoch, and since the start
    of this machine. ``complaint`` is why it may not have heard."""

    until: float
    until_uptime: float
    complaint: str = ""


@dataclass(eq=False)
class Soft:
    """What is behind the outlets of a request is asked to shut down, and has some ``seconds`` for it.

    ``hard``: what has not shut down by then is switched off all the same. ``became`` says, for people, what came of
    each that was ``asked``; from then on its outlet is switched off as any other is.
    """

    seconds: float
    hard: bool = True
    asked: dict[Outlet, Asked] = field(default_factory=dict)
    became: dict[Outlet, str] = field(default_factory=dict)

    def copy(self) -> Soft:
        """Return what it is now."""
        return Soft(self.seconds, self.hard, self.asked.copy(), self.became.copy())

    @property
    def said(self) -> str:
        """What came of those that were asked, for people; empty if nothing has."""
        if len(self.became) == 1:
            return next(iter(self.became.values()))
        return "; ".join(f"{outlet} {said}" for outlet, said in self.became.items())


class Phase(StrEnum):
    """Where a request stands; the value is what the store keeps."""

    OFF = "off"
    ON = "on"
    RESTART = "restart"  # the device's own restart: never done a second time after a crash


class Stage(StrEnum):
    """Where a step stands."""

    PLANNED = "planned"  # it waits for the steps before it
    QUEUED = "queued"  # in the timetable, or in the queue of its PDU's worker
    RUNNING = "running"  # the driver acts
    ENDED = "ended"  # whatever may still come of it


class Timer(Protocol):
    """A call that is to be made later, and can be called off."""

    def cancel(self) -> None: ...


class Outcome(StrEnum):
    """How a request ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    GIVEN_UP = "given up"
    INTERRUPTED = "interrupted"


@dataclass(eq=False, slots=True)
class Step:
    """One action on one outlet, on behalf of one request.

    ``attempts`` counts the tries of the present round; ``rounds`` the rounds that an owed on has failed, the first of
    them at ``failing_since``; ``at`` is when it is, or was, handed to the PDU's worker (both in monotonic seconds).
    ``repair``: an on besides the request's own steps, for a debt that it took over and cannot settle by these yet.
    ``promised``: the disk has the record of the off that this is. ``staggered``: it has to wait for other ons.
    ``error`` is why the last try failed. ``order`` is what the driver is told: the action, or of an off that comes
    softly what stands before that, see `pdudaemon.engine.softoff`.
    """

    request: Request
    outlet: Outlet
    action: Action
    order: str
    repair: bool = False
    attempts: int = 0
    rounds: int = 0
    failing_since: float | None = None
    error: PDUDaemonError | None = None
    at: float = 0.0
    timer: Timer | None = None
    promised: bool = False
    staggered: bool = False
    stage: Stage = Stage.PLANNED

    @property
    def crowd(self) -> int | None:
        """The command that it is for, of many requests perhaps."""
        return self.request.command

    @property
    def lengthy(self) -> bool:
        """Whether the disk must have the record of it first."""
        return self.request.action is Action.REBOOT and self.action is not Action.ON

    @property
    def owed(self) -> bool:
        """Whether this is an on that makes good an off of ours: done even while the daemon is stopping."""
        return self.action is Action.ON and self.outlet in self.request.debts

    @property
    def running(self) -> bool:
        return self.stage is Stage.RUNNING

    @property
    def ended(self) -> bool:
        return self.stage is Stage.ENDED

    @property
    def backing_off(self) -> bool:
        """Whether this is an owed on between two rounds, which a later request for the outlet may supersede."""
        return self.rounds > 0 and not self.running and not self.ended


@dataclass(eq=False)
class Command:
    """Requests that were made at once: one action on the nodes ``names``, by one client, with one idempotency key.

    ``accepted`` is in seconds since the epoch; ``id`` is given by the store, which numbers requests apart.
    """

    action: Action
    client: str
    accepted: float
    names: tuple[str, ...]
    key: str = ""
    id: int = 0


@dataclass(eq=False, slots=True)
class Request:
    """One action on one target, from acceptance to its end.

    ``accepted``, ``started``, ``off_ended`` and ``ended`` are seconds since the epoch, for people and for another start
    of the machine. The ``_uptime`` of the first and the third is what time is counted by: seconds since the start of
    the machine that ``boot`` names, or before it if negative. ``latest`` is the latest time on record of what was
    accepted no earlier, for a request that was read from there: the wall clock has been as far as that.

    ``debts`` are the outlets that may be off because of us, and that this request has to see on: those of a reboot from
    just before its off, and those that it took over from an earlier request. An outlet is a debt of one request at a
    time, until an on has succeeded; a debt is on record, it never expires, and only who says so cancels it.

    ``error`` is why a step failed for good, ``trouble`` what those who wait should hear before the end. ``settled``:
    there is something to tell them. ``results`` holds what became of each outlet so far, None for done; ``switched``
    what each outlet was told to be on behalf of this request, unknown if that did not end well, and when.

    ``command`` is the number of the command that it is a part of, in which it serves the nodes ``names``; ``key`` the
    idempotency key that it was asked for with. ``soft``: its offs come softly.
    """

    action: Action
    target: Target
    delay: float
    client: str
    accepted: float
    phase: Phase
    id: int = 0
    command: int | None = None
    names: tuple[str, ...] = ()
    key: str = ""
    boot: str = ""
    accepted_uptime: float = 0.0
    latest: float = 0.0
    debts: set[Outlet] = field(default_factory=set)
    remaining: list[Outlet] = field(default_factory=list)  # the outlets not yet done with, in order
    started: float | None = None  # when the device was first asked; on record before that for a reboot
    off_ended: float | None = None
    off_ended_uptime: float | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    error: PDUDaemonError | None = None
    trouble: PDUDaemonError | None = None
    begun: bool = False  # whether its turn has come in all its lanes
    steps: list[Step] = field(default_factory=list)  # of the present phase; none before it has begun
    repairs: list[Step] = field(default_factory=list)
    results: dict[Outlet, PDUDaemonError | None] = field(default_factory=dict)
    switched: dict[Outlet, tuple[State, float]] = field(default_factory=dict)
    soft: Soft | None = None
    address: str = ""  # from where it was asked for, since the daemon has run
    settled: bool = False
    waiters: list[Waiter] = field(default_factory=list)

    number = property(operator.attrgetter("id"), doc="The id as clients know it.")

    @property
    def must_switch_on(self) -> bool:
        """Whether an off of ours may have reached the device, which this request has to make good."""
        return bool(self.debts)

    @property
    def work(self) -> Iterator[Step]:
        """All steps that there are now."""
        return itertools.chain(self.steps, self.repairs)

    def __str__(self) -> str:
        return f"request {self.id}: {self.action} {self.target.name}"
