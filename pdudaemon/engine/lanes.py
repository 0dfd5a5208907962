# SPDX-License-Identifier: MIT
"""`Lanes`: the order of requests, and what follows each attempt.

One lane, a deque, for each outlet. A request is appended to all its lanes in one go, so there is one total order and no
cycle can form between requests that span lanes. Only the head of a lane may be in a PDU's queue or in the timetable: a
retry is the head going into the timetable, a reboot is the head changing its phase, and when a head has done with an
outlet the next one moves up. Nothing can overtake.

An off of a reboot makes its on a debt, which later requests take over: see `pdudaemon.engine.debts`. What becomes of
requests of an earlier run is in `pdudaemon.engine.resumption`. Everything here is called with the dispatcher's lock
held.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import partial

from pdudaemon.config.options import DaemonOptions
from pdudaemon.engine import debts
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.debts import only_pay, take_over
from pdudaemon.engine.events import QUEUED, RUNNING, WAITING, Events
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.stagger import Stagger
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.timetable import Timetable
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import DeviceError, PDUDaemonError, RequestEnded, StoreError, TransientError, both
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, Stage, State, Step

log = logging.getLogger("pdud.requests")


class Lanes:
    """Where every live request stands, by its number: in its lanes (``live``), or ``kept``, since its PDU is disabled.

    ``load`` is how many of those live there are for each PDU, ``load_from`` for each address and PDU.
    """

    def __init__(
        self,
        daemon: DaemonOptions,
        fleet: Fleet,
        store: Store,
        timetable: Timetable,
        waiting: Waiting,
        clock: Clock,
        events: Events,
        stagger: Stagger,
    ) -> None:
        self.daemon = daemon
        self.live: dict[int, Request] = {}
        self.kept: dict[int, Request] = {}  # in the order of acceptance
        self.load: Counter[str] = Counter()
        self.load_from: Counter[tuple[str, str]] = Counter()
        self._fleet = fleet
        self._store = store
        self._timetable = timetable
        self._waiting = waiting
        self._clock = clock
        self._events = events
        self._stagger = stagger
        self._lanes: dict[Outlet, deque[Request]] = {}

    def take_over(self, requests: Sequence[Request]) -> Mapping[Outlet, tuple[Step, Request]]:
        """Have new requests, which are not on record yet, take over debts that others keep up; return what for `enter`.

        For each such outlet: the on that fails, and the request that takes its place.
        """
        found: dict[Outlet, tuple[Step, Request]] = {}
        for request in requests:
            for outlet in request.remaining:
                if outlet in self._lanes and outlet not in found and (step := self._backing_off(outlet)):
                    found[outlet] = step, request
                    take_over(request, outlet)
        return found

    def enter(self, requests: Sequence[Request], debts: Mapping[Outlet, tuple[Step, Request]]) -> None:
        """Put new requests, which are on record by now, behind all others; ``debts`` is what they took over."""
        assert self._waiting.bare.locked()
        for step, request in debts.values():
            if not step.backing_off:  # it has been tried again meanwhile, or the debt is no more
                request.debts.discard(step.outlet)
                self._store.note(request)
        for request in requests:
            self._events.of_request(request, "accepted", QUEUED)
            self.append(request)
        for step, request in debts.values():
            if step.backing_off:
                self._supersede(step, request)

    def append(self, request: Request) -> None:
        """Put a request that is on record behind all others."""
        assert self._waiting.bare.locked()
        self.live[request.id] = request
        for pdu in request.target.pdus:
            self.load[pdu] += 1
            if request.address:
                self.load_from[request.address, pdu] += 1
        for outlet in request.remaining:
            lane = self._lanes.get(outlet)
            if lane is None:
                self._lanes[outlet] = deque((request,))
            else:
                lane.append(request)
        self.advance(request)

    def advance(self, request: Request) -> None:
        """Begin a phase of a request if its turn has come in all its lanes; until then see to debts it took over."""
        if request.begun:
            return
        for outlet in request.remaining:
            if self._lanes[outlet][0] is not request:
                if request.debts:
                    self._repair(request)
                return
        request.begun = True
        uptime, now = self._clock.uptime(), time.monotonic()
        if request.action is not Action.REBOOT:
            due = request.accepted_uptime + request.delay
        elif request.off_ended_uptime is not None:
            due = request.off_ended_uptime + request.delay
        else:
            due = uptime
        when = now + min(due - uptime, request.delay)  # the delay against a clock that was set back
        action = Action.REBOOT if request.phase is Phase.RESTART else Action(request.phase)
        request.steps = []
        waits = False
        for outlet in request.remaining:
            softly = request.soft is not None and action is Action.OFF and outlet not in request.soft.became
            step = Step(request, outlet, action, (Action.STATUS if softly else action).value, at=when)
            request.steps.append(step)
            if action is Action.ON and outlet in request.debts and request.action is not Action.REBOOT:
                self.send_at(step, now)
            elif not waits:
                self.send_at(step, when)
                waits = action is Action.ON  # those are sent one after the other: see `send_next`
        if request.debts:
            self._repair(request)

    def send_next(self, request: Request) -> None:
        """Send the next step that waits for those before it: feeds are switched on in order, past one that fails."""
        for step in request.steps:
            if step.stage is Stage.PLANNED:
                self.send_at(step, step.at)
                return

    def send_at(self, step: Step, when: float, placed: bool = False) -> None:
        """Send a step to its PDU's worker at a point in monotonic time, and not at the one that was planned.

        An on that is not ``placed`` among the others yet may have to wait longer: see `Stagger`. What the request does
        there itself takes the place of a repair.
        """
        if step.timer is not None:
            step.timer.cancel()
            step.timer = None
        now = time.monotonic()
        if when <= now and self._stagger.is_set and step.action is not Action.OFF and not placed:
            due = self._stagger.place(step.outlet, now)
            if due > now:
                when, placed, step.staggered = due, True, True
                self._events.of_request(step.request, "waiting", WAITING, None, step, self._clock.wall() + due - now)
        step.at, step.stage = when, Stage.QUEUED
        if when > now:
            step.timer = self._timetable.at(when, partial(self.send_at, step, when, placed))
            return
        if step.request.repairs and not step.repair:
            self.drop_repair(step.request, step.outlet)
        self._fleet.runners[step.outlet.pdu].put(step)

    def begin(self, step: Step) -> bool:
        """Note that a step is about to act; return whether the disk must have the record of that first."""
        assert self._waiting.bare.locked()
        request = step.request
        step.stage = Stage.RUNNING
        step.attempts += 1
        if step.repair:
            return False
        first = request.started is None
        if first:
            self._events.of_request(request, "begun", RUNNING)
            request.started = self._clock.wall()
        if request.action is Action.OFF and step.outlet in request.debts:
            request.debts.discard(step.outlet)  # who asked wants it off
            self._store.note(request)
        if step.action is Action.REBOOT:
            return first
        return request.action is Action.REBOOT and step.action is Action.OFF and not step.promised

    def attempt_ended(self, step: Step, error: DeviceError | None) -> None:
        """Decide what follows an attempt: the end of the step, another attempt, or a debt to be kept up."""
        assert self._waiting.bare.locked()
        step.error = error
        request = step.request
        state = State.UNKNOWN if error is not None else State.OFF if step.action is Action.OFF else State.ON
        self._store.switched(request, step.outlet, state, self._clock.wall())
        self._events.of_request(request, "tried", RUNNING, error, step)
        if step.stage is Stage.ENDED:  # while it acted
            if state is State.ON:
                request.debts.discard(step.outlet)
            self._store.note(request)
            return
        if len(request.steps) > 1:
            self.send_next(request)
        if error is None:
            self.end_step(step, None)
            return
        options = self._fleet.pdus[step.outlet.pdu].options
        if isinstance(error, TransientError) and step.attempts < options.retries:
            log.info("%s: try %d of %d failed: %s", request, step.attempts, options.retries, error)
            self.send_at(step, time.monotonic() + options.retrydelay)
        elif step.owed:
            self._keep_up(step, error)
        else:
            self.end_step(step, error)

    def refuse(self, step: Step, error: StoreError) -> None:
        """End a step that may not act, as the disk has no record of it."""
        if not step.ended:
            self.send_next(step.request)
            self.end_step(step, error)

    def end_step(self, step: Step, error: PDUDaemonError | None) -> None:
        """End a step, done or failed for good, and begin what it was holding up."""
        request = step.request
        drop(step)
        if error is None and step.action is not Action.OFF:
            request.debts.discard(step.outlet)
        if step.repair:
            request.repairs.remove(step)
            self._store.note(request)
            return
        request.results[step.outlet] = request.results.get(step.outlet) or error
        if error is not None:
            note(request, error)
        last = len(request.steps) == 1 or all(other.ended for other in request.steps)
        off_half = request.action is Action.REBOOT and request.phase is Phase.OFF
        if off_half and error is not None:
            follows = "the on follows all the same" if step.outlet in request.debts else "the port was not touched"
            log.error("%s: the off failed, %s: %s", request, follows, error)
        if last and not request.debts:
            outcome = request.outcome or (Outcome.FAILED if request.error else Outcome.DONE)
            self.finish(request, outcome, request.error)
        elif last:
            request.off_ended, request.off_ended_uptime = (self._clock.wall(), self._clock.uptime())
            untouched = only_pay(request)
            self._store.note(request)
            for outlet in untouched:
                self.leave(request, outlet)
            request.begun = False
            self.advance(request)
        elif off_half:
            self._store.note(request)
        elif step.outlet in request.remaining:
            request.remaining.remove(step.outlet)
            self._store.note(request)
            self.leave(request, step.outlet)

    def finish(
        self, request: Request, outcome: Outcome, error: PDUDaemonError | None, level: int | None = None
    ) -> None:
        """End a request, wherever it stands, and let the next ones move up."""
        assert self._waiting.bare.locked()
        left, request.remaining = request.remaining, []
        request.ended, request.outcome, request.error = (self._clock.wall(), outcome, error)
        request.debts.clear()
        for step in (*request.steps, *request.repairs):
            if step.stage is not Stage.ENDED:
                drop(step)
        request.steps, request.repairs = [], []  # which know the request: so that it need not be looked for as garbage
        self._store.note(request)
        took = self._clock.uptime() - request.accepted_uptime
        self._events.of_request(request, "ended", outcome.value, error)
        if level is None:
            level = logging.INFO if outcome is Outcome.DONE else logging.WARNING
        why = error or (request.soft and request.soft.said)
        because = f": {why}" if why else ""
        what = (request, request.client, outcome, took, because)
        log.log(level, "%s for %s %s after %.1f s%s", *what, extra={"request": request})
        if self.live.pop(request.id, None) is not None:
            for pdu in request.target.pdus:
                self.load[pdu] -= 1
                if request.address:
                    self.load_from[request.address, pdu] -= 1
                    if not self.load_from[request.address, pdu]:
                        del self.load_from[request.address, pdu]
            for outlet in left:
                self.leave(request, outlet)
        self._waiting.settle(request)

    def leave(self, request: Request, outlet: Outlet) -> None:
        """Take a request out of a lane, and let the next one move up."""
        lane = self._lanes[outlet]
        lane.remove(request)
        if lane:
            self.advance(lane[0])
        else:
            del self._lanes[outlet]

    def find(self, number: int) -> Request | None:
        """Return a request that has not ended by its number, None if there is none."""
        return self.live.get(number) or self.kept.get(number)

    def owed(self) -> list[str]:
        """Return a line for each outlet that has yet to be switched on, and when."""
        return debts.owed([*self.live.values(), *self.kept.values()], self._fleet.disabled)

    def ahead(self, request: Request) -> Request | None:
        """Return a request that one whose turn has not come waits for."""
        heads = (self._lanes[outlet][0] for outlet in request.remaining if outlet in self._lanes)
        return next((head for head in heads if head is not request), None)

    def _repair(self, request: Request) -> None:
        """Keep up the debts that a request took over, and will not settle by what it does itself now."""
        now = time.monotonic()
        settled = {step.outlet for step in request.steps if step.action is not Action.OFF or step.at <= now}
        settled |= {repair.outlet for repair in request.repairs}
        for outlet in request.target.outlets:
            if outlet in request.debts and outlet not in settled and self._lanes[outlet][0] is request:
                request.repairs.append(Step(request, outlet, Action.ON, Action.ON.value, repair=True))
                self.send_at(request.repairs[-1], now)

    def drop_repair(self, request: Request, outlet: Outlet) -> None:
        """Let the on that a debt is kept up by besides be none any more."""
        for repair in [repair for repair in request.repairs if repair.outlet == outlet]:
            drop(repair)
            request.repairs.remove(repair)

    def _keep_up(self, step: Step, error: DeviceError) -> None:
        """An owed on failed all its tries: hand the debt to who waits behind it, or try again later, or give up."""
        request, lane = step.request, self._lanes[step.outlet]
        pause = debts.back_off(step, self.daemon.give_up)
        if len(lane) > 1 and not step.repair:
            self._supersede(step, lane[1])
        elif pause is None:
            log.critical("%s given up: %s MAY BE OFF: %s", request, step.outlet, error)
            request.debts.discard(step.outlet)
            if not step.repair:
                request.outcome = Outcome.GIVEN_UP
            self.end_step(step, error)
        else:
            log.error("%s: %s may be off, on is tried again in %.0f s: %s", request, step.outlet, pause, error)
            if not step.repair:
                told = f"{error}; the port may be off, on is tried again"
                self._waiting.settle(request, type(error)(told, private=error.private))
            self.send_at(step, time.monotonic() + pause)

    def _backing_off(self, outlet: Outlet) -> Step | None:
        """Return the step at the head of a lane that a later request may supersede."""
        for step in self._lanes[outlet][0].steps:
            if step.outlet == outlet and step.backing_off:
                return step
        return None

    def _supersede(self, step: Step, later: Request) -> None:
        """Have a later request take over the debt of an on that fails."""
        if step.outlet not in later.debts:
            take_over(later, step.outlet)
            self._store.note(later)
        step.request.debts.discard(step.outlet)
        step.request.outcome = Outcome.SUPERSEDED
        self.end_step(step, RequestEnded(f"superseded by request {later.id}"))


def drop(step: Step) -> None:
    """End a step, whatever was to come of it."""
    step.stage = Stage.ENDED
    if step.timer is not None:
        step.timer.cancel()
        step.timer = None


def note(request: Request, error: PDUDaemonError | None, outlet: Outlet | None = None) -> None:
    """Note why a request did not do all of it, or what became of one of its outlets."""
    if outlet is not None:
        request.results[outlet] = request.results.get(outlet) or error
    if error is not None:
        request.error = error if request.error is None else both(request.error, error)


def cut_short(request: Request, why: str) -> RequestEnded:
    """Return why a request ended early, with what it had switched by then."""
    switched = ", ".join(f"{outlet} {state}" for outlet, (state, _) in request.switched.items())
    return RequestEnded(f"{why}; switched before that: {switched}" if switched else why)
