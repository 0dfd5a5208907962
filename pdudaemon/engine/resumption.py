# SPDX-License-Identifier: MIT
"""`Resumption`: what becomes of requests of an earlier run, and of those for which a reload leaves no outlet.

Debts never expire; an on or off that is late by more than ``resume_age`` does. A request whose PDU is disabled is
*kept*: it is in no lane, and is taken up when the PDU is not disabled any more.

How long something has taken or has to wait is counted by the clock that cannot be set, as far as that reaches back; the
wall clock is asked only for what another start of the machine left, and if it is behind that, it is not believed.

Called with the dispatcher's lock held.
"""

from __future__ import annotations

import logging

from pdudaemon.engine.clock import Clock
from pdudaemon.engine.debts import only_pay
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.lanes import Lanes, cut_short, note
from pdudaemon.engine.softoff import date, still_waits
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import PDUDaemonError, RequestEnded, RequestError, StoreError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, State, Target

log = logging.getLogger("pdud.requests")


class Resumption:
    """Puts requests into the lanes, or ends them, or keeps them."""

    def __init__(self, lanes: Lanes, fleet: Fleet, store: Store, clock: Clock) -> None:
        self._lanes = lanes
        self._fleet = fleet
        self._store = store
        self._clock = clock
        self._in_line: set[Outlet] = set()  # for which there is a request of an earlier run

    def resume(self, request: Request) -> None:
        """Take up a request of an earlier run, or say why not."""
        first = [outlet for outlet in request.remaining if outlet not in self._in_line]
        lost = self._lost(request)
        disabled = [outlet for outlet in lost if self._fleet.disabled(outlet.pdu)]
        if disabled and len(lost) == len(request.remaining):
            self._keep(request, disabled[0])
            return
        self._in_line.update(first)
        for outlet in disabled:
            self._part_with_debt(request, outlet)
        for outlet, absence in lost.items():
            self._lose(request, outlet, absence)
        if not request.remaining:
            self._lanes.finish(request, Outcome.FAILED, request.error, logging.ERROR)
            return
        if lost:
            self._store.note(request)
        behind = self._date(request)
        self._doubt(request, first)
        postponed = 0.0 if request.action is Action.REBOOT else request.delay
        postponed += 0.0 if request.soft is None else request.soft.seconds
        late = self._clock.uptime() - request.accepted_uptime - postponed
        if request.started is not None and request.phase is Phase.RESTART:
            cut = RequestEnded("interrupted by the end of the daemon, not done again")
            self._lanes.finish(request, Outcome.INTERRUPTED, cut, logging.ERROR)
            return
        late_at_all = behind or late > self._lanes.daemon.resume_age
        if late_at_all and not still_waits(request, self._clock.uptime()):
            late_by = "nobody knows how" if behind else f"{late:.0f} s"
            why = ", as the clock is behind what is on record" if behind else ""
            self._expire(request, cut_short(request, f"expired: {late_by} late after a restart{why}"))
        if request.ended is None:
            log.info("%s resumed", request)
            self._lanes.append(request)

    def resume_kept(self) -> None:
        """Take up what was kept and can be now."""
        kept = [*self._lanes.kept.values()]
        self._lanes.kept.clear()
        for request in kept:
            self.resume(request)

    def end_impossible(self) -> None:
        """End the requests for ports that, by a new configuration, there are not any more."""
        for request in list(self._lanes.live.values()):
            lost = self._lost(request)
            whole = len(lost) == len(request.remaining)
            for outlet, absence in lost.items():
                self._lose(request, outlet, absence)
                step = next((step for step in request.steps if step.outlet == outlet and not step.ended), None)
                self._lanes.leave(request, outlet)
                if step is not None and not whole:
                    self._lanes.end_step(step, None)
                    self._lanes.send_next(request)
            if whole:
                self._lanes.finish(request, Outcome.FAILED, request.error, logging.ERROR)
            elif lost:
                self._store.note(request)
                self._lanes.advance(request)

    def _expire(self, request: Request, expired: RequestEnded) -> None:
        """Let a request that is in no lane do nothing any more but pay its debts, which never expire."""
        if not request.debts:
            self._lanes.finish(request, Outcome.EXPIRED, expired)
        elif request.phase is Phase.OFF or request.action is not Action.REBOOT:
            begun = request.started is not None and request.action is Action.REBOOT
            if len(request.debts) < len(request.remaining) or not (begun or request.action is Action.ON):
                request.outcome = Outcome.EXPIRED
                note(request, expired)
            only_pay(request)
            self._store.note(request)

    def _doubt(self, request: Request, first: list[Outlet]) -> None:
        """Note that nobody knows what outlets are, for which a request is ``first`` in line, and may have begun.

        That is not on record of an on or off, and it may never be done again: it expires. What an outlet was told
        before would then be said of it for ever.
        """
        began: float | None = request.accepted_uptime
        if request.phase is Phase.ON and request.action is Action.REBOOT:
            began = request.off_ended_uptime
        elif request.action is Action.REBOOT and request.started is None:
            return
        wait = 0.0 if request.phase in (Phase.OFF, Phase.RESTART) and request.action is Action.REBOOT else request.delay
        if began is not None and self._clock.uptime() < began + wait:
            return
        aim = {Phase.ON: State.ON, Phase.OFF: State.OFF}.get(request.phase)
        for outlet in first:
            told = self._store.last_told(outlet)
            if aim is None or (told is not None and told[0] is not aim):
                self._store.switched(request, outlet, State.UNKNOWN, self._clock.wall())

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
        date(request, wall, uptime)
        return wall < request.latest

    def _lost(self, request: Request) -> dict[Outlet, PDUDaemonError]:
        """Return the outlets of a request that cannot be switched by the configuration as it is, and why."""
        return {outlet: absence for outlet in request.remaining if (absence := self._absence(outlet)) is not None}

    def _absence(self, outlet: Outlet) -> PDUDaemonError | None:
        """Return why an outlet cannot be switched by the configuration as it is; None: it can."""
        pdu = self._fleet.pdus.get(outlet.pdu)
        if pdu is None:
            return RequestError(f"{outlet.pdu} is not configured any more")
        try:
            there = pdu.outlet(outlet.port) == outlet
        except RequestError as error:
            return error
        return None if there else RequestError(f"there is no {outlet} any more")

    def _lose(self, request: Request, outlet: Outlet, absence: PDUDaemonError) -> None:
        """Take an outlet that cannot be switched any more from a request, which goes on with the others."""
        if outlet in request.debts:
            log.critical("%s: %s MAY BE OFF: %s", request, outlet, absence)
            request.debts.discard(outlet)
        self._lanes.drop_repair(request, outlet)
        request.remaining.remove(outlet)
        note(request, absence, outlet)

    def _keep(self, request: Request, outlet: Outlet) -> None:
        """Keep a request, which is in no lane, until the PDU of an outlet is not disabled any more."""
        fault = self._fleet.pdus[outlet.pdu].fault
        log.error("%s kept until this can be: %s is disabled: %s", request, outlet.pdu, fault)
        self._lanes.kept[request.id] = request

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
