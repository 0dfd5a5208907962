# SPDX-License-Identifier: MIT
"""`Lanes`: the order of requests, and what follows each attempt.

One lane, a deque, for each outlet. A request is appended to all its lanes in one go, so there is one total order and no
cycle can form between requests that span lanes. Only the head of a lane may be in a PDU's queue or in the timetable: a
retry is the head going into the timetable, a reboot is the head changing its phase, and when a head has done with an
outlet the next one moves up. Nothing can overtake.

The off of a reboot makes its on a *debt*: once that off may have reached the device, the on is tried until it is done,
cancelled by name, or given up. A later request for the outlet takes the debt over, and settles it by what it does
itself: an ``on`` at once, whatever its delay, an ``off`` by switching off. Until that can be, as it has yet to wait for
a delay or for other outlets, the on is kept up besides, as a *repair*.

How long something has taken or has to wait is counted by the clock that cannot be set, as far as that reaches back; the
wall clock is asked only for what another start of the machine left, and if it is behind that, it is not believed.

Everything here is called with the dispatcher's lock held.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pdudaemon.config.model import DaemonOptions, PDUConfig
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.store import Store
from pdudaemon.engine.timetable import Timetable
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import (
    Conflict,
    DeviceError,
    PDUDaemonError,
    RequestEnded,
    RequestError,
    StoreError,
    TransientError,
    both,
)
from pdudaemon.power import Action, Command, Outcome, Outlet, Phase, Request, Stage, State, Step, Target

log = logging.getLogger("pdud.requests")

FIRST_BACK_OFF = 30.0
LONGEST_BACK_OFF = 300.0
WRITE_AGAIN = 5.0


class Lanes:
    """Where every live request stands. ``send`` hands a step whose time has come to its PDU's worker."""

    def __init__(
        self,
        daemon: DaemonOptions,
        pdus: Mapping[str, PDUConfig],
        store: Store,
        timetable: Timetable,
        waiting: Waiting,
        send: Callable[[Step], None],
        clock: Clock,
        events: Events,
    ) -> None:
        self.daemon = daemon
        self.live: dict[int, Request] = {}
        self.load: Counter[str] = Counter()
        self.load_from: Counter[tuple[str, str]] = Counter()  # by address and PDU
        self._pdus = pdus
        self._store = store
        self._timetable = timetable
        self._waiting = waiting
        self._send = send
        self._clock = clock
        self._events = events
        self._lanes: dict[Outlet, deque[Request]] = {}
        self._kept: list[Request] = []  # of PDUs that are disabled, in the order of acceptance
        self._written_later = False  # whether the timetable has an entry for what could not be written

    def enter(self, requests: Sequence[Request], command: Command | None = None) -> None:
        """Commit new requests, with the command that they make up, and put them behind all others.

        Raises: StoreError; nothing has happened then.
        """
        debts: dict[Outlet, tuple[Step, Request]] = {}
        for request in requests:
            for outlet in request.remaining:
                if outlet not in debts and (step := self._debt(outlet)) is not None:
                    debts[outlet] = step, request
                    _take_over(request, outlet)
        self._store.add_all(requests, command)
        for request in requests:
            self._events.accepted(request)
            self._append(request)
        for step, request in debts.values():
            self._supersede(step, request)

    def resume(self, request: Request) -> None:
        """Take up a request of an earlier run, or say why not."""
        lost = self._lost(request)
        disabled = [outlet for outlet in lost if self._disabled(outlet)]
        if disabled and len(lost) == len(request.remaining):
            self._keep(request, disabled[0])
            return
        for outlet in disabled:
            self._part_with_debt(request, outlet)
        for outlet, absence in lost.items():
            self._lose(request, outlet, absence)
        if not request.remaining:
            self.finish(request, Outcome.FAILED, request.error, logging.ERROR)
            return
        if lost:
            self._persist(request)
        behind = self._date(request)
        postponed = 0.0 if request.action is Action.REBOOT else request.delay
        late = self._clock.uptime() - request.accepted_uptime - postponed
        if request.started is not None and request.phase is Phase.RESTART:
            for outlet in request.remaining:
                self._store.switched(request, outlet, State.UNKNOWN, self._clock.wall())
            cut = RequestEnded("interrupted by the end of the daemon, not done again")
            self.finish(request, Outcome.INTERRUPTED, cut, logging.ERROR)
            return
        if behind or late > self.daemon.resume_age:
            late_by = "nobody knows how" if behind else f"{late:.0f} s"
            why = ", as the clock is behind what is on record" if behind else ""
            self._expire(request, _ended(request, f"expired: {late_by} late after a restart{why}"))
        if request.ended is None:
            log.info("%s resumed", request)
            self._append(request)

    def _expire(self, request: Request, expired: RequestEnded) -> None:
        """Let a request that is in no lane do nothing any more but pay its debts, which never expire."""
        if not request.debts:
            self.finish(request, Outcome.EXPIRED, expired)
        elif request.phase is Phase.OFF or request.action is not Action.REBOOT:
            begun = request.started is not None and request.action is Action.REBOOT
            if len(request.debts) < len(request.remaining) or not (begun or request.action is Action.ON):
                request.outcome = Outcome.EXPIRED
                _note(request, expired)
            _only_pay(request)
            self._persist(request)

    def _date(self, request: Request) -> bool:
        """Have the times of a request count from this start of the machine; return whether it is known to be wrong.

        By the wall clock, if they are of another start; that is wrong if it is behind what is on record.
        """
        wall, uptime = self._clock.wall(), self._clock.uptime()
        if request.boot and request.boot == self._clock.boot:
            return uptime < request.accepted_uptime
        request.boot = self._clock.boot
        request.accepted_uptime = uptime - (wall - request.accepted)
        if request.off_ended is not None:
            request.off_ended_uptime = uptime - (wall - request.off_ended)
        return wall < request.latest

    def resume_kept(self) -> None:
        """Take up what was kept and can be now."""
        kept, self._kept = self._kept, []
        for request in kept:
            self.resume(request)

    def attempt_ended(self, step: Step, error: DeviceError | None) -> None:
        """Decide what follows an attempt: the end of the step, another attempt, or a debt to be kept up."""
        step.error = error
        state = State.UNKNOWN if error is not None else State.OFF if step.action is Action.OFF else State.ON
        self._store.switched(step.request, step.outlet, state, self._clock.wall())
        self._events.tried(step, error)
        if step.ended:  # while it acted
            if state is State.ON:
                step.request.debts.discard(step.outlet)
            self._persist(step.request)
            return
        self._send_next(step.request)
        options = self._pdus[step.outlet.pdu].options
        if error is None:
            self.end_step(step, None)
        elif isinstance(error, TransientError) and step.attempts < options.retries:
            log.info("%s: try %d of %d failed: %s", step.request, step.attempts, options.retries, error)
            self.send_at(step, time.monotonic() + options.retrydelay)
        elif step.owed:
            self._keep_up(step, error)
        else:
            self.end_step(step, error)

    def send_at(self, step: Step, when: float) -> None:
        """Send a step at a point in monotonic time, and not at the one that was planned."""
        step.call_off()
        step.at, step.stage = when, Stage.QUEUED
        if when <= time.monotonic():
            self._hand_over(step)
        else:
            step.timer = self._timetable.at(when, lambda: self._hand_over(step))

    def _hand_over(self, step: Step) -> None:
        """Hand a step to its PDU's worker; what the request itself does there takes the place of a repair."""
        if not step.repair:
            self._drop_repair(step.request, step.outlet)
        self._send(step)

    def begin(self, step: Step) -> bool:
        """Note that a step is about to act; return whether the disk must have the record of that first."""
        request = step.request
        step.stage = Stage.RUNNING
        step.attempts += 1
        if not (request.started or step.repair):
            self._events.begun(request)
        if step.repair:
            return False
        first, request.started = (request.started is None, request.started or self._clock.wall())
        if request.action is Action.OFF and step.outlet in request.debts and step.action is Action.OFF:
            request.debts.discard(step.outlet)  # who asked wants it off
            self._persist(request)
        if step.action is Action.REBOOT:
            return first
        return request.action is Action.REBOOT and step.action is Action.OFF and not step.promised

    def refuse(self, step: Step, error: StoreError) -> None:
        """End a step that may not act, as the disk has no record of it."""
        if not step.ended:
            self._send_next(step.request)
            self.end_step(step, error)

    def end_step(self, step: Step, error: PDUDaemonError | None) -> None:
        """End a step, done or failed for good, and begin what it was holding up."""
        request = step.request
        step.drop()
        if error is None and step.action is not Action.OFF:
            request.debts.discard(step.outlet)
        if step.repair:
            request.repairs.remove(step)
            self._persist(request)
            return
        _note(request, error, step.outlet)
        last = all(other.ended for other in request.steps)
        off_half = request.action is Action.REBOOT and request.phase is Phase.OFF
        if off_half and error is not None:
            follows = "the on follows all the same" if step.outlet in request.debts else "the port was not touched"
            log.error("%s: the off failed, %s: %s", request, follows, error)
        if last and not (off_half and request.debts):
            outcome = request.outcome or (Outcome.FAILED if request.error else Outcome.DONE)
            self.finish(request, outcome, request.error)
        elif last:
            request.off_ended, request.off_ended_uptime = (self._clock.wall(), self._clock.uptime())
            untouched = _only_pay(request)
            self._persist(request)
            for outlet in untouched:
                self._leave(request, outlet)
            self._begin_phase(request)
        elif off_half:
            self._persist(request)
        elif step.outlet in request.remaining:
            request.remaining.remove(step.outlet)
            self._persist(request)
            self._leave(request, step.outlet)

    def finish(
        self, request: Request, outcome: Outcome, error: PDUDaemonError | None, level: int | None = None
    ) -> None:
        """End a request, wherever it stands, and let the next ones move up."""
        left, request.remaining = request.remaining, []
        request.ended, request.outcome, request.error = (self._clock.wall(), outcome, error)
        request.debts.clear()
        for step in request.work:
            step.drop()
        self._persist(request)
        self._events.ended(request)
        if level is None:
            level = logging.INFO if outcome is Outcome.DONE else logging.WARNING
        because = f": {error}" if error is not None else ""
        took = self._clock.uptime() - request.accepted_uptime
        log.log(level, "%s for %s %s after %.1f s%s", request, request.client, outcome, took, because)
        if self.live.pop(request.id, None) is not None:
            pdus = {outlet.pdu for outlet in request.target.outlets}
            self.load.subtract(pdus)
            if request.address:
                for pdu in pdus:
                    self.load_from[request.address, pdu] -= 1
                    if not self.load_from[request.address, pdu]:
                        del self.load_from[request.address, pdu]
            for outlet in left:
                self._leave(request, outlet)
        self._waiting.settle(request)

    def forget(self, request: Request, error: StoreError) -> None:
        """End a new request that the disk did not take, but for the debts that it took over."""
        if not request.debts:
            self.finish(request, Outcome.FAILED, error, logging.ERROR)
            return
        request.outcome = Outcome.FAILED
        _note(request, error)
        for step in request.steps:
            step.drop()
        request.steps, request.begun = [], False
        for outlet in _only_pay(request):
            self._leave(request, outlet)
        self._persist(request)
        self._advance(request)

    def find(self, number: int) -> Request | None:
        """Return a request that has not ended by its number, None if there is none."""
        return self.live.get(number) or next((request for request in self._kept if request.id == number), None)

    def cancel(self, request: Request, half: str) -> None:
        """End a request that has not started, or with ``half`` ``on`` the on that it owes. Raises: Conflict."""
        if any(step.running for step in request.work):
            raise Conflict(f"request {request.id} is being carried out")
        if request.must_switch_on and half != "on":
            raise Conflict(f"request {request.id} still has to switch on; to leave the port off, ask with half=on")
        self.finish(request, Outcome.CANCELLED, _ended(request, f"request {request.id} was cancelled"))
        self._kept = [other for other in self._kept if other is not request]

    def hurry(self, request: Request) -> None:
        """Let the on half of a reboot under way follow at once."""
        request.delay = 0.0
        for step in [step for step in request.steps if not step.running and not step.ended]:
            if step.owed:
                self.send_at(step, time.monotonic())
            elif step.attempts:
                self.end_step(step, RequestEnded("interrupted between two tries"))

    def tell(self, names: Collection[str], trouble: PDUDaemonError) -> None:
        """Tell those who wait for some PDUs what there is to tell before the end."""
        for request in self.live.values():
            if any(outlet.pdu in names for outlet in request.remaining):
                self._waiting.settle(request, trouble)
            if any(step.running and step.outlet.pdu in names for step in request.steps):
                self._send_next(request)

    def leave_off(self, until: float) -> bool:
        """Tell those who wait for what will not happen before ``until``; return whether anything else still will."""
        awaited = False
        for request in self.live.values():
            if any(step.running or (step.owed and not step.ended and step.at <= until) for step in request.work):
                awaited = True
            else:
                self._waiting.settle(request)
        return awaited

    def end_impossible(self) -> None:
        """End the requests for ports that, by a new configuration, there are not any more."""
        for request in list(self.live.values()):
            lost = self._lost(request)
            whole = len(lost) == len(request.remaining)
            for outlet, absence in lost.items():
                self._lose(request, outlet, absence)
                step = next((step for step in request.steps if step.outlet == outlet and not step.ended), None)
                self._leave(request, outlet)
                if step is not None and not whole:
                    self.end_step(step, None)
                    self._send_next(request)
            if whole:
                self.finish(request, Outcome.FAILED, request.error, logging.ERROR)
            elif lost:
                self._persist(request)
                self._advance(request)

    def write_later(self) -> None:
        """Have what could not be written tried again: whoever gives the lock back writes what there is to write."""
        if not self._written_later:
            self._written_later = True
            self._timetable.at(time.monotonic() + WRITE_AGAIN, self._write_again)

    def _write_again(self) -> None:
        self._written_later = False
        self._waiting.write_again()

    def owed(self) -> list[str]:
        """Return a line for each outlet that has yet to be switched on, and when."""
        return [
            f"{request}: {outlet} is to be switched on {self._when(request, outlet)}"
            for request in [*self.live.values(), *self._kept]
            for outlet in request.target.outlets
            if outlet in request.debts
        ]

    def _when(self, request: Request, outlet: Outlet) -> str:
        """Say when a debt is to be paid."""
        for step in request.work:
            if step.outlet == outlet and step.action is Action.ON and not step.ended:
                return f"in {max(0.0, step.at - time.monotonic()):.0f} s, at the next start"
        if self._disabled(outlet):
            return f"when {outlet.pdu} is not disabled any more"
        return f"when {'the off is done' if request.steps else 'its turn has come'}, at the next start"

    def ahead(self, request: Request) -> Request | None:
        """Return a request that one whose turn has not come waits for."""
        heads = (self._lanes[outlet][0] for outlet in request.remaining if outlet in self._lanes)
        return next((head for head in heads if head is not request), None)

    def described(self, record: dict[str, Any]) -> dict[str, Any]:
        """Add to a record of the store what only a live request knows."""
        request = self.live.get(record["id"])
        if request is not None:
            running = any(step.running for step in request.work)
            record["state"] = "running" if running else "waiting" if request.steps else "queued"
            problem = request.trouble or request.error
            record["reason"] = None if problem is None else problem.told
        return record

    def _lost(self, request: Request) -> dict[Outlet, PDUDaemonError]:
        """Return the outlets of a request that cannot be switched by the configuration as it is, and why."""
        return {outlet: absence for outlet in request.remaining if (absence := self._absence(outlet)) is not None}

    def _absence(self, outlet: Outlet) -> PDUDaemonError | None:
        """Return why an outlet cannot be switched by the configuration as it is; None: it can."""
        pdu = self._pdus.get(outlet.pdu)
        if pdu is None:
            return RequestError(f"{outlet.pdu} is not configured any more")
        try:
            there = pdu.outlet(outlet.port) == outlet
        except RequestError as error:
            return error
        return None if there else RequestError(f"there is no {outlet} any more")

    def _disabled(self, outlet: Outlet) -> bool:
        return outlet.pdu in self._pdus and self._pdus[outlet.pdu].driver is None

    def _keep(self, request: Request, outlet: Outlet) -> None:
        """Keep a request, which is in no lane, until the PDU of an outlet is not disabled any more."""
        fault = self._pdus[outlet.pdu].fault
        log.error("%s kept until this can be: %s is disabled: %s", request, outlet.pdu, fault)
        self._kept.append(request)

    def _part_with_debt(self, request: Request, outlet: Outlet) -> None:
        """Make the debt for an outlet whose PDU is disabled a request of its own, as this one goes on without it."""
        if outlet not in request.debts:
            return
        target = Target(str(outlet), (outlet,))
        heir = Request(Action.ON, target, 0.0, request.client, self._clock.wall(), Phase.ON, remaining=[outlet])
        heir.boot, heir.accepted_uptime, heir.debts = self._clock.boot, self._clock.uptime(), {outlet}
        try:
            self._store.add_all([heir])
        except StoreError as error:
            log.error("%s: %s", request, error)
            return
        request.debts.discard(outlet)
        self._keep(heir, outlet)

    def _lose(self, request: Request, outlet: Outlet, absence: PDUDaemonError) -> None:
        """Take an outlet that cannot be switched any more from a request, which goes on with the others."""
        if outlet in request.debts:
            log.critical("%s: %s MAY BE OFF: %s", request, outlet, absence)
            request.debts.discard(outlet)
        self._drop_repair(request, outlet)
        request.remaining.remove(outlet)
        _note(request, absence, outlet)

    def _append(self, request: Request) -> None:
        self.live[request.id] = request
        pdus = {outlet.pdu for outlet in request.target.outlets}
        self.load.update(pdus)
        if request.address:
            self.load_from.update((request.address, pdu) for pdu in pdus)
        for outlet in request.remaining:
            self._lanes.setdefault(outlet, deque()).append(request)
        self._advance(request)

    def _leave(self, request: Request, outlet: Outlet) -> None:
        lane = self._lanes[outlet]
        lane.remove(request)
        if lane:
            self._advance(lane[0])
        else:
            del self._lanes[outlet]

    def _advance(self, request: Request) -> None:
        """Begin a request if its turn has come in all its lanes; until then see to the debts that it took over."""
        if not request.begun:
            if all(self._lanes[outlet][0] is request for outlet in request.remaining):
                self._begin_phase(request)
            else:
                self._repair(request)

    def _begin_phase(self, request: Request) -> None:
        request.begun = True
        now = self._clock.uptime()
        if request.action is not Action.REBOOT:
            due = request.accepted_uptime + request.delay
        elif request.phase is Phase.ON and request.off_ended_uptime is not None:
            due = request.off_ended_uptime + request.delay
        else:
            due = now
        # The second against a clock that was set back.
        when = time.monotonic() + min(due - now, request.delay)
        action = Action.REBOOT if request.phase is Phase.RESTART else Action(request.phase.value)
        request.steps = [Step(request, outlet, action) for outlet in request.remaining]
        for step in request.steps:
            at_once = step.owed and request.action is not Action.REBOOT
            step.at = time.monotonic() if at_once else when
            if at_once or action is not Action.ON:
                self.send_at(step, step.at)
        self._send_next(request)
        self._repair(request)

    def _repair(self, request: Request) -> None:
        """Keep up the debts that a request took over, and will not settle by what it does itself now."""
        now = time.monotonic()
        settled = {step.outlet for step in request.steps if step.action is not Action.OFF or step.at <= now}
        settled |= {repair.outlet for repair in request.repairs}
        for outlet in request.target.outlets:
            if outlet in request.debts and outlet not in settled and self._lanes[outlet][0] is request:
                request.repairs.append(Step(request, outlet, Action.ON, repair=True))
                self.send_at(request.repairs[-1], now)

    def _drop_repair(self, request: Request, outlet: Outlet) -> None:
        for repair in [repair for repair in request.repairs if repair.outlet == outlet]:
            repair.drop()
            request.repairs.remove(repair)

    def _send_next(self, request: Request) -> None:
        """Send the next step that waits for those before it: feeds are switched on in order, past one that fails."""
        for step in request.steps:
            if step.stage is Stage.PLANNED:
                self.send_at(step, step.at)
                return

    def _keep_up(self, step: Step, error: DeviceError) -> None:
        """An owed on failed all its tries: hand the debt to who waits behind it, or try again later, or give up."""
        now = time.monotonic()
        step.rounds += 1
        step.attempts = 0
        step.failing_since = step.failing_since or now
        left = step.failing_since + self.daemon.give_up - now
        lane = self._lanes[step.outlet]
        if len(lane) > 1 and not step.repair:
            self._supersede(step, lane[1])
        elif left <= 0:
            log.critical("%s given up: %s MAY BE OFF: %s", step.request, step.outlet, error)
            step.request.debts.discard(step.outlet)
            if not step.repair:
                step.request.outcome = Outcome.GIVEN_UP
            self.end_step(step, error)
        else:
            pause = min(FIRST_BACK_OFF * 2 ** (step.rounds - 1), LONGEST_BACK_OFF, left)
            log.error("%s: %s may be off, on is tried again in %.0f s: %s", step.request, step.outlet, pause, error)
            if not step.repair:
                told = f"{error}; the port may be off, on is tried again"
                self._waiting.settle(step.request, type(error)(told, private=error.private))
            self.send_at(step, now + pause)

    def _debt(self, outlet: Outlet) -> Step | None:
        """Return the step at the head of a lane that a later request may supersede."""
        lane = self._lanes.get(outlet)
        steps = lane[0].steps if lane else ()
        return next((step for step in steps if step.outlet == outlet and step.backing_off), None)

    def _supersede(self, step: Step, later: Request) -> None:
        """Have a later request take over the debt of an on that fails."""
        if step.outlet not in later.debts:
            _take_over(later, step.outlet)
            self._persist(later)
        step.request.debts.discard(step.outlet)
        step.request.outcome = Outcome.SUPERSEDED
        self.end_step(step, RequestEnded(f"superseded by request {later.id}"))

    def _persist(self, request: Request) -> None:
        """Have written how far a request has come, as soon as the lock is given back."""
        self._store.note(request)


def _take_over(request: Request, outlet: Outlet) -> None:
    """Make an outlet that may be off because of an earlier request a debt of this one, which has not begun."""
    request.debts.add(outlet)
    if request.phase is Phase.RESTART:  # of no use to what is off
        request.phase = Phase.OFF


def _only_pay(request: Request) -> list[Outlet]:
    """Have a request switch on what may be off because of us, and nothing else; return the outlets that it lets be."""
    untouched = [outlet for outlet in request.remaining if outlet not in request.debts]
    request.phase = Phase.ON
    request.remaining = [outlet for outlet in request.remaining if outlet in request.debts]
    return untouched


def _note(request: Request, error: PDUDaemonError | None, outlet: Outlet | None = None) -> None:
    """Note why a request did not do all of it, or what became of one of its outlets."""
    if outlet is not None:
        request.results[outlet] = request.results.get(outlet) or error
    if error is not None:
        request.error = error if request.error is None else both(request.error, error)


def _ended(request: Request, why: str) -> RequestEnded:
    """Return why a request ended early, with what it had switched by then."""
    switched = ", ".join(f"{outlet} {state}" for outlet, (state, _) in request.switched.items())
    return RequestEnded(f"{why}; switched before that: {switched}" if switched else why)
