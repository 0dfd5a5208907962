# SPDX-License-Identifier: MIT
"""`Lanes`: the order of requests, and what follows each attempt.

One lane, a deque, for each outlet. A request is appended to all its lanes in one go, so there is one total order and no
cycle can form between requests that span lanes. Only the head of a lane may be in a PDU's queue or in the timetable: a
retry is the head going into the timetable, a reboot is the head changing its phase, and when a head has done with an
outlet the next one moves up. Nothing can overtake.

The off of a reboot makes its on *owed*: once that off may have reached the device, the on is tried until it is done,
superseded by a later request for the outlet (an ``on`` takes the debt over), cancelled by name, or given up.

Everything here is called with the dispatcher's lock held.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pdudaemon.config import DaemonOptions, PDUConfig
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
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, Step
from pdudaemon.store import Store
from pdudaemon.timetable import Timetable

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
        send: Callable[[Step], None],
    ) -> None:
        self.daemon = daemon
        self.live: dict[int, Request] = {}
        self.load: Counter[str] = Counter()
        self._pdus = pdus
        self._store = store
        self._timetable = timetable
        self._send = send
        self._lanes: dict[Outlet, deque[Request]] = {}
        self._kept: list[Request] = []  # of PDUs that are disabled, in the order of acceptance
        self._written_later = False  # whether the timetable has a call for what could not be written

    def enter(self, request: Request) -> None:
        """Commit a new request and put it behind all others. Raises: StoreError; nothing has happened then."""
        debts = [step for outlet in request.outlets if (step := self._debt(outlet)) is not None]
        if request.phase is not Phase.RESTART:
            request.owed = request.action is Action.REBOOT or (request.action is Action.ON and bool(debts))
        request.id = self._store.add(request)
        self._append(request)
        for step in debts:
            self._supersede(step, request)

    def resume(self, request: Request) -> None:
        """Take up a request of an earlier run, or say why not."""
        lost = {outlet: self._absence(outlet) for outlet in request.outlets}
        disabled = [pdu for outlet in lost if (pdu := self._pdus.get(outlet.pdu)) and pdu.driver is None]
        if disabled and all(lost.values()):
            log.error("%s kept until this can be: %s is disabled: %s", request, disabled[0].name, disabled[0].fault)
            self._kept.append(request)
            return
        for outlet, absence in lost.items():
            if absence is not None:
                self._lose(request, outlet, absence)
        if not request.outlets:
            self.finish(request, Outcome.FAILED, request.error, logging.ERROR)
            return
        if any(lost.values()):
            self._persist(request)
        postponed = 0.0 if request.action is Action.REBOOT else request.delay
        late = time.time() - request.accepted - postponed
        stale = late > self.daemon.resume_age
        if request.started is not None and request.phase is Phase.RESTART:
            cut = RequestEnded("interrupted by the end of the daemon, not done again")
            self.finish(request, Outcome.INTERRUPTED, cut, logging.ERROR)
        elif stale and not request.must_switch_on:
            self.finish(request, Outcome.EXPIRED, RequestEnded(f"expired: {late:.0f} s late after a restart"))
        else:
            if stale and request.phase is Phase.OFF:  # too late to switch off, never too late to switch on again
                request.phase, request.off_ended = Phase.ON, 0.0
            log.info("%s resumed", request)
            self._append(request)

    def resume_kept(self) -> None:
        """Take up what was kept and can be now."""
        kept, self._kept = self._kept, []
        for request in kept:
            self.resume(request)

    def attempt_ended(self, step: Step, error: DeviceError | None) -> None:
        """Decide what follows an attempt: the end of the step, another attempt, or a debt to be kept up."""
        step.running = False
        if step.ended:
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
        step.at, step.sent = when, True
        if when <= time.monotonic():
            self._send(step)
        else:
            step.timer = self._timetable.at(when, lambda: self._send(step))

    def end_step(self, step: Step, error: PDUDaemonError | None) -> None:
        """End a step, done or failed for good, and begin what it was holding up."""
        request = step.request
        step.ended = True
        step.call_off()
        self._note(request, step.outlet, error)
        last = all(other.ended for other in request.steps)
        if request.action is Action.REBOOT and request.phase is Phase.OFF:
            if last:
                request.phase, request.off_ended = Phase.ON, time.time()
            self._persist(request)
            if error is not None:
                log.error("%s: the off failed, the on follows all the same: %s", request, error)
            if last:
                self._begin_phase(request)
        elif last:
            outcome = request.outcome or (Outcome.FAILED if request.error else Outcome.DONE)
            self.finish(request, outcome, request.error)
        elif step.outlet in request.outlets:
            request.outlets.remove(step.outlet)
            self._persist(request)
            self._leave(request, step.outlet)

    def finish(
        self, request: Request, outcome: Outcome, error: PDUDaemonError | None, level: int | None = None
    ) -> None:
        """End a request, wherever it stands, and let the next ones move up."""
        left, request.outlets = request.outlets, []
        request.ended, request.outcome, request.error = time.time(), outcome, error
        for step in request.steps:
            step.ended = True
            step.call_off()
        self._persist(request)
        if level is None:
            level = logging.INFO if outcome is Outcome.DONE else logging.WARNING
        because = f": {error}" if error is not None else ""
        took = request.ended - request.accepted
        log.log(level, "%s for %s %s after %.1f s%s", request, request.client, outcome, took, because)
        if self.live.pop(request.id, None) is not None:
            self.load.subtract({outlet.pdu for outlet in request.target.outlets})
            for outlet in left:
                self._leave(request, outlet)
        request.settled.set()

    def find(self, number: int) -> Request | None:
        """Return a request that has not ended by its number, None if there is none."""
        return self.live.get(number) or next((request for request in self._kept if request.id == number), None)

    def cancel(self, request: Request, half: str) -> None:
        """End a request that has not started, or with ``half`` ``on`` the on that it owes.

        Raises: Conflict; StoreError if it has ended, but a crash would make it rise again.
        """
        if any(step.running for step in request.steps):
            raise Conflict(f"request {request.id} is being carried out")
        if request.must_switch_on and half != "on":
            raise Conflict(f"request {request.id} still has to switch on; to leave the port off, ask with half=on")
        self.finish(request, Outcome.CANCELLED, RequestEnded(f"request {request.id} was cancelled"))
        self._kept = [other for other in self._kept if other is not request]
        self._store.catch_up()

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
            if any(outlet.pdu in names for outlet in request.outlets):
                request.settle(trouble)
            if any(step.running and step.outlet.pdu in names for step in request.steps):
                self._send_next(request)

    def leave_off(self, until: float) -> bool:
        """Tell those who wait for what will not happen before ``until``; return whether anything else still will."""
        awaited = False
        for request in self.live.values():
            if any(step.running or (step.owed and not step.ended and step.at <= until) for step in request.steps):
                awaited = True
            else:
                request.settle(None)
        return awaited

    def end_impossible(self) -> None:
        """End the requests for ports that, by a new configuration, there are not any more."""
        for request in list(self.live.values()):
            lost = {outlet: absence for outlet in request.outlets if (absence := self._absence(outlet)) is not None}
            whole = len(lost) == len(request.outlets)
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

    def write_behind(self) -> None:
        """Write down what could not be when it happened, now or as soon as can be."""
        self._written_later = False
        try:
            self._store.catch_up()
        except StoreError as error:
            log.error("what became of some requests is not on record: %s", error)
            self._write_later()

    def owed(self) -> list[str]:
        """Return a line for each outlet that has yet to be switched on, and when."""
        now = time.monotonic()
        return [
            f"{request}: {step.outlet} is to be switched on "
            + ("when the off is done" if step.action is Action.OFF else f"in {max(0.0, step.at - now):.0f} s")
            + ", at the next start"
            for request in self.live.values()
            if request.must_switch_on
            for step in request.steps
            if not step.ended or step.action is Action.OFF
        ]

    def described(self, record: dict[str, Any]) -> dict[str, Any]:
        """Add to a record of the store what only a live request knows."""
        request = self.live.get(record["id"])
        if request is not None:
            running = any(step.running for step in request.steps)
            record["state"] = "running" if running else "waiting" if request.steps else "queued"
            problem = request.trouble or request.error
            record["reason"] = None if problem is None else problem.told
        return record

    def _note(self, request: Request, outlet: Outlet, error: PDUDaemonError | None) -> None:
        """Note what became of an outlet of a request."""
        request.results[outlet] = request.results.get(outlet) or error
        if error is not None:
            request.error = error if request.error is None else both(request.error, error)

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

    def _lose(self, request: Request, outlet: Outlet, absence: PDUDaemonError) -> None:
        """Take an outlet that cannot be switched any more from a request, which goes on with the others."""
        if request.must_switch_on:
            log.critical("%s: %s MAY BE OFF: %s", request, outlet, absence)
        request.outlets.remove(outlet)
        self._note(request, outlet, absence)

    def _append(self, request: Request) -> None:
        self.live[request.id] = request
        self.load.update({outlet.pdu for outlet in request.target.outlets})
        for outlet in request.outlets:
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
        """Begin a request if its turn has come in all its lanes."""
        if not request.steps and all(self._lanes[outlet][0] is request for outlet in request.outlets):
            self._begin_phase(request)

    def _begin_phase(self, request: Request) -> None:
        now = time.time()
        if request.action is not Action.REBOOT:
            due = request.accepted + request.delay
        elif request.phase is Phase.ON and request.off_ended is not None:
            due = request.off_ended + request.delay
        else:
            due = now
        when = time.monotonic() + min(due - now, request.delay)  # the second against a clock that was set back
        action = Action.REBOOT if request.phase is Phase.RESTART else Action(request.phase.value)
        request.steps = [Step(request, outlet, action) for outlet in request.outlets]
        for step in request.steps:
            step.at = when
            if action is not Action.ON:
                self.send_at(step, when)
        self._send_next(request)

    def _send_next(self, request: Request) -> None:
        """Send the next step that waits for those before it: feeds are switched on in order, past one that fails."""
        for step in request.steps:
            if not step.sent and not step.ended:
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
        if len(lane) > 1:
            self._supersede(step, lane[1])
        elif left <= 0:
            log.critical("%s given up: %s MAY BE OFF: %s", step.request, step.outlet, error)
            step.request.outcome = Outcome.GIVEN_UP
            self.end_step(step, error)
        else:
            pause = min(FIRST_BACK_OFF * 2 ** (step.rounds - 1), LONGEST_BACK_OFF, left)
            log.error("%s: %s may be off, on is tried again in %.0f s: %s", step.request, step.outlet, pause, error)
            told = f"{error}; the port may be off, on is tried again"
            step.request.settle(type(error)(told, private=error.private))
            self.send_at(step, now + pause)

    def _debt(self, outlet: Outlet) -> Step | None:
        """Return the step at the head of a lane that a later request may supersede."""
        lane = self._lanes.get(outlet)
        steps = lane[0].steps if lane else ()
        return next((step for step in steps if step.outlet == outlet and step.backing_off), None)

    def _supersede(self, step: Step, later: Request) -> None:
        if later.action is Action.ON and not later.owed:
            later.owed = True
            self._persist(later)
        step.request.outcome = Outcome.SUPERSEDED
        self.end_step(step, RequestEnded(f"superseded by request {later.id}"))

    def _persist(self, request: Request) -> None:
        """Write down how far a request has come; what cannot be written is as soon as it can."""
        try:
            self._store.progress(request)
        except StoreError as error:
            log.error("%s: %s", request, error)
            self._write_later()

    def _write_later(self) -> None:
        if not self._written_later:
            self._written_later = True
            self._timetable.at(time.monotonic() + WRITE_AGAIN, self.write_behind)
