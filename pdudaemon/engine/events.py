# SPDX-License-Identifier: MIT
"""`Events`: what happens, as it happens, in a bounded ring. Everything that shows things live reads this one stream.

Whoever publishes, mostly with the dispatcher's lock held, pays for an append and a wake-up; an `Event` holds what does
not change any more, and becomes JSON (`record`) where it is read. Who reads too slowly misses some, and is told so.
What becomes of requests is counted as well (`Figures`).

Numbers go up by one, and begin with the time of the start, so that those of one run of the daemon are above those of
the runs before: who comes with a number of an earlier run is told that it missed something.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from pdudaemon.config.model import Config
from pdudaemon.engine import outlets
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.outlets import Known
from pdudaemon.errors import PDUDaemonError
from pdudaemon.power import Action, Outlet, Request, Step

ROOM = 10_000  # events that are kept

QUEUED, WAITING, RUNNING = "queued", "waiting", "running"

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)
"""Of the buckets in which durations are counted, in seconds; a last one takes what is longer."""


class Event(NamedTuple):
    """Something that happened at ``time`` (seconds since the epoch). What is not of its ``kind`` is None, or empty.

    ``accepted``, ``begun``, ``tried`` and ``ended`` are of a request: its number, what was asked for, and ``state`` and
    ``error`` as of then, and the outlets which it ``owed`` an on. ``ended`` may have a ``reason`` for what was done.
    ``tried``: one try of ``action`` at the first of ``outlets``. ``waiting``: that is ``due`` then (seconds since the
    epoch), an on after others, or an off of what was asked to shut down. ``outlet``: what is ``known`` of the one of
    ``outlets``. ``pdu``: how a PDU is, ``reachable`` None if nobody knows. ``reload``: look anew, perhaps with a
    ``reason``. Requests and commands of a site are called by texts.
    """

    id: int
    time: float
    kind: str
    request: int | str | None = None
    action: str = ""
    target: str = ""
    outlets: tuple[Outlet, ...] = ()
    names: tuple[str, ...] = ()
    client: str = ""
    command: int | str | None = None
    state: str = ""
    error: PDUDaemonError | None = None
    owed: tuple[Outlet, ...] = ()
    known: Known | None = None
    pdu: str = ""
    reason: str = ""
    reachable: bool | None = None
    due: float | None = None


class Durations:
    """How often something took so long, by bucket, and how long all of it took, in seconds."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0


class Figures:
    """How many requests and tries there were, of which PDU and with what result, and how long requests took.

    Counted since the start, with the dispatcher's lock held; read without, by whoever shows metrics.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()  # by PDU, action, result
        self.tries: Counter[tuple[str, str, str]] = Counter()
        self.durations = {action: Durations() for action in (Action.ON, Action.OFF, Action.REBOOT)}

    def ended(self, request: Request, seconds: float) -> None:
        """Count a request, which ended so long after it was accepted: once for each of its PDUs."""
        result = "" if request.outcome is None else request.outcome.value.replace(" ", "_")
        for pdu in request.target.pdus:
            self.requests[pdu, request.action.value, result] += 1
        took, seconds = self.durations[request.action], max(0.0, seconds)
        took.buckets[bisect_left(BOUNDS, seconds)] += 1
        took.sum += seconds

    def at_site(
        self, kind: str, outlets: Iterable[Outlet], action: str, state: str, error: object, **_: object
    ) -> None:
        """Count what is heard to have happened at a site, as far as that is a request that ended, or a try."""
        for pdu in {outlet.pdu for outlet in outlets}:
            if kind == "ended":
                self.requests[pdu, action, state.replace(" ", "_")] += 1
            elif kind == "tried":
                self.tries[pdu, action, "done" if error is None else "failed"] += 1

    def keep(self, names: Collection[str]) -> None:
        """Forget what is of other PDUs than these."""
        for counted in (self.requests, self.tries):
            for key in [key for key in counted if key[0] not in names]:
                del counted[key]


class Events:
    """The ring. Any thread may publish and read."""

    def __init__(self, clock: Clock, room: int = ROOM) -> None:
        self.figures = Figures()
        self._clock = clock
        self._ring: list[Event | None] = [None] * room
        self._lock = threading.Lock()  # taken last of all locks
        self.last = self._start = int(clock.wall() * 1000)
        self._watches: tuple[Watch, ...] = ()

    # For whoever publishes.

    def outlet(self, outlet: Outlet, known: Known) -> None:
        """What is known of an outlet has changed."""
        self._publish("outlet", outlets=(outlet,), known=known)

    def pdu(self, name: str, state: str, reason: str, reachable: bool | None) -> None:
        """A PDU is not as it was: ``ready``, ``stuck``, ``leaving`` or ``disabled``, answers or does not."""
        self._publish("pdu", pdu=name, state=state, reason=reason, reachable=reachable)

    def reload(self, reason: str = "") -> None:
        """Another configuration was taken over, or a site is not as it was: look anew."""
        self._publish("reload", reason=reason)

    def at_site(self, kind: str, **more: Any) -> None:
        """Something happened at a site: the fields of an `Event`, but for its number and time."""
        self.figures.at_site(kind, **more)
        self._publish(kind, **more)

    def of_request(
        self,
        request: Request,
        kind: str,
        state: str,
        error: PDUDaemonError | None = None,
        step: Step | None = None,
        due: float | None = None,
    ) -> None:
        """A request has come further, or one ``step`` of it was tried, or waits until it is ``due``: see `Event`.

        The dispatcher's lock is held.
        """
        action, outlets = request.action.value, request.target.outlets
        if step is not None:
            action, outlets = step.action.value, (step.outlet,)
            if due is None:
                self.figures.tries[step.outlet.pdu, action, "done" if error is None else "failed"] += 1
        elif kind == "ended":
            self.figures.ended(request, self._clock.uptime() - request.accepted_uptime)
        with self._lock:
            self.last = number = self.last + 1
            self._ring[number % len(self._ring)] = Event(
                number,
                self._clock.wall(),
                kind,
                request.id,
                action,
                request.target.name,
                outlets,
                request.names,
                request.client,
                request.command,
                state,
                error,
                tuple(request.debts) if request.debts else (),
                reason=request.soft.said if request.soft is not None else "",
                due=due,
            )
        for watch in self._watches:
            watch.wake()

    def _publish(self, kind: str, **more: Any) -> None:
        with self._lock:
            self.last = number = self.last + 1
            self._ring[number % len(self._ring)] = Event(number, self._clock.wall(), kind, **more)
        for watch in self._watches:
            watch.wake()

    # For whoever reads.

    def since(self, number: int, most: int = ROOM) -> tuple[list[Event], bool]:
        """Return the events behind a number, oldest first, ``most`` at most; and whether some of them are gone.

        A number that was never given, as one of another run of the daemon, is as good as one before all of them.
        """
        with self._lock:
            oldest = max(self._start, self.last - len(self._ring)) + 1
            known = oldest - 1 <= number <= self.last
            first = number + 1 if known else oldest
            numbers = range(first, min(self.last, first + most - 1) + 1)
            found = [self._ring[each % len(self._ring)] for each in numbers]
        return [event for event in found if event is not None], not known

    def watch(self, wake: Callable[[], None], after: int | None = None) -> Watch:
        """Return a reader of what is published from now on, or behind the number ``after``.

        ``wake`` is called when there is something to take, once until it is taken, by whoever publishes, perhaps with
        the dispatcher's lock held: it must do no more than wake somebody.
        """
        with self._lock:
            watch = Watch(self, wake, self.last if after is None else after)
            self._watches += (watch,)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Have a reader not be woken any more."""
        with self._lock:
            self._watches = tuple(each for each in self._watches if each is not watch)


class Watch:
    """One who reads the stream: `take` what there is, be woken, take again; `close` at the end."""

    def __init__(self, events: Events, wake: Callable[[], None], after: int) -> None:
        self.position = after
        self._events = events
        self._wake = wake
        self._woken = False

    def take(self, most: int = 1000) -> tuple[list[Event], bool]:
        """Return what has been published since the last call, ``most`` at most, and whether some of it is gone.

        To be called until it returns nothing; one thread at a time.
        """
        self._woken = False  # before looking: what comes from now on wakes again
        found, missed = self._events.since(self.position, most)
        if found:
            self.position = found[-1].id
        elif missed:
            self.position = self._events.last
        return found, missed

    def wake(self) -> None:
        """Wake whoever reads, unless that is done already. Called by whoever publishes."""
        if not self._woken:
            self._woken = True
            self._wake()

    def close(self) -> None:
        """Read no more."""
        self._events.unwatch(self)


def record(event: Event, config: Config, now: float) -> dict[str, Any]:
    """Return an event as it is told to clients."""
    told: dict[str, Any] = {"id": event.id, "time": event.time, "kind": event.kind}
    if event.request is not None:
        nodes = [
            *event.names,
            *(node for outlet in event.outlets for node in config.nodes_of(outlet)),
        ]
        told |= {
            "request": event.request,
            "action": event.action,
            "target": event.target,
            "outlets": [f"{outlet.pdu}:{outlet.port}" for outlet in event.outlets],
            "nodes": [*dict.fromkeys(nodes)],
            "client": event.client,
            "state": event.state,
            "reason": _reason(event),
            "error": None if event.error is None else event.error.kind,
            "command": event.command,
            "owed": [f"{outlet.pdu}:{outlet.port}" for outlet in event.owed],
        }
        if event.due is not None:
            told["due"] = event.due
    elif event.known is not None:
        told["outlet"] = outlets.record(event.outlets[0], event.known, config, now)
    elif event.pdu:
        told |= {
            "pdu": event.pdu,
            "state": event.state,
            "reason": event.reason or None,
            "reachable": event.reachable,
        }
    elif event.reason:
        told["reason"] = event.reason
    return told


def _reason(event: Event) -> str | None:
    """Return why a request did not do it, why it waits, or what came of machines that were asked to shut down."""
    if event.error is not None:
        return event.error.told
    if event.due is None:
        return event.reason or None if event.kind == "ended" else None
    return (has_to_wait if event.action != Action.OFF else has_time)(event.due - event.time)


def has_to_wait(seconds: float) -> str:
    """Return, for people, that an on waits for others."""
    return f"staggered: to be switched on in {max(0.0, seconds):.0f} s"


def has_time(seconds: float) -> str:
    """Return, for people, that a machine was asked to shut down."""
    return f"asked to shut down: {max(0.0, seconds):.0f} s are left"
