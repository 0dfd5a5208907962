# SPDX-License-Identifier: MIT
"""`Interventions`: what comes from outside upon requests under way, and not from their own steps.

Somebody cancels one or is in a hurry, the disk does not take it, a device does not come back, the daemon stops.

Called with the dispatcher's lock held.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from pdudaemon.engine.debts import only_pay
from pdudaemon.engine.lanes import Lanes, cut_short, drop, note
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import Conflict, PDUDaemonError, RequestEnded, StoreError
from pdudaemon.power import Outcome, Request


class Interventions:
    """Ends requests, hastens them, or tells those who wait for them, before their time."""

    def __init__(self, lanes: Lanes, store: Store, waiting: Waiting) -> None:
        self._lanes = lanes
        self._store = store
        self._waiting = waiting

    def forget(self, request: Request, error: StoreError) -> None:
        """End a new request that the disk did not take, but for the debts that it took over."""
        if not request.debts:
            self._lanes.finish(request, Outcome.FAILED, error, logging.ERROR)
            return
        request.outcome = Outcome.FAILED
        note(request, error)
        for step in request.steps:
            drop(step)
        request.steps, request.begun = [], False
        for outlet in only_pay(request):
            self._lanes.leave(request, outlet)
        self._store.note(request)
        self._lanes.advance(request)

    def cancel(self, request: Request, half: str) -> None:
        """End a request that has not started, or with ``half`` ``on`` the on that it owes. Raises: Conflict."""
        if any(step.running for step in request.work):
            raise Conflict(f"request {request.id} is being carried out")
        if request.debts and half != "on":
            raise Conflict(f"request {request.id} still has to switch on; to leave the port off, ask with half=on")
        self._lanes.finish(request, Outcome.CANCELLED, cut_short(request, f"request {request.id} was cancelled"))
        self._lanes.kept.pop(request.id, None)

    def hurry(self, request: Request) -> None:
        """Let the on half of a reboot under way follow at once."""
        request.delay = 0.0
        for step in [step for step in request.steps if not step.running and not step.ended]:
            if step.owed:
                self._lanes.send_at(step, time.monotonic())
            elif step.attempts:
                self._lanes.end_step(step, RequestEnded("interrupted between two tries"))

    def tell(self, names: Collection[str], trouble: PDUDaemonError) -> None:
        """Tell those who wait for some PDUs what there is to tell before the end."""
        for request in self._lanes.live.values():
            if any(outlet.pdu in names for outlet in request.remaining):
                self._waiting.settle(request, trouble)
            if any(step.running and step.outlet.pdu in names for step in request.steps):
                self._lanes.send_next(request)

    def leave_off(self, until: float) -> bool:
        """Tell those who wait for what will not happen before ``until``; return whether anything else still will."""
        awaited = False
        for request in self._lanes.live.values():
            if any(step.running or (step.owed and step.at <= until) for step in request.work):
                awaited = True
            else:
                self._waiting.settle(request)
        return awaited
