# SPDX-License-Identifier: MIT
"""`Answers`: waiting for what becomes of requests and questions, and what can be said of a request that goes on.

Called without the dispatcher's lock, which is taken here.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pdudaemon.engine.queries import Query, Seat
from pdudaemon.errors import Busy, NotDone, PDUDaemonError, RequestEnded, Stopping
from pdudaemon.power import Action, Outlet, Phase, Reading, Request, Step


class Answers:
    """``changed`` is notified whenever something may be settled; ``ask`` puts a question, or answers it with an error.

    ``ahead`` tells which request one whose turn has not come waits for; it is called with the lock held.
    """

    def __init__(
        self,
        lock: threading.Lock,
        changed: threading.Condition,
        ask: Callable[[Outlet, Busy | None], Query],
        ahead: Callable[[Request], Request | None],
    ) -> None:
        self._lock = lock
        self._changed = changed
        self._ask = ask
        self._ahead = ahead

    def became(self, request: Request, seconds: float) -> PDUDaemonError | None:
        """Return what is to be told of a request that was waited for so long; None: it has ended, and is done."""
        with self._lock:
            if request.ended is not None:
                return request.error
            if request.trouble is not None:
                return request.trouble
            accepted = f"accepted as request {request.id}"
            if not request.settled.is_set():
                return NotDone(f"{accepted}, not done after {seconds:g} s: {self._so_far(request)}; it goes on")
            if request.phase is Phase.RESTART and request.started is not None:
                return RequestEnded(f"{accepted}, cut short, as the daemon is stopping")
            return Stopping(f"{accepted}, but not done: the daemon is stopping, and resumes it when it starts again")

    def _so_far(self, request: Request) -> str:
        """Return in one line what is known of a request that has not ended. The lock is held."""
        steps = [step for step in request.work if not step.ended]
        errors = [error for error in (request.error, *(step.error for step in steps)) if error is not None]
        if errors:
            known = [error.told for error in errors]
        elif steps:
            known = [_standing(step) for step in steps if step.sent or step.at > time.monotonic()]
        elif (ahead := self._ahead(request)) is not None:
            known = [f"queued behind request {ahead.id}"]
        else:
            known = ["it has not begun"]
        return " ".join("; ".join(dict.fromkeys(known)).split())

    def gather(
        self, wanted: Collection[Request | Outlet], seconds: float, seat: Seat
    ) -> Iterator[tuple[Request | Outlet, Reading | PDUDaemonError | None]]:
        """Yield the state of each outlet and what became of each request (None: done), as they come in.

        After ``seconds`` nothing comes in any more. ``seat`` has room for the requests already; an outlet of a PDU
        that too many wait for is answered so.
        """
        until = time.monotonic() + seconds
        awaited = Counter(_pdus(wanted))
        pending: dict[Request | Outlet, Request | Query] = {}
        for each in wanted:
            pending[each] = self._asked(each, seat) if isinstance(each, Outlet) else each
        queries = [each for each in pending.values() if isinstance(each, Query)]
        try:
            while pending and (ready := self._settled(pending, until)):
                jobs = [(each, pending.pop(each)) for each in ready]
                awaited.subtract(_pdus(ready))
                seat.leave({name for name in _pdus(ready) if not awaited[name]})
                for each, job in jobs:
                    yield (each, job.answer if isinstance(job, Query) else self.became(job, seconds))
        finally:
            with self._lock:
                for query in queries:
                    query.callers -= 1

    def _asked(self, outlet: Outlet, seat: Seat) -> Query:
        try:
            seat.take([outlet.pdu])
        except Busy as error:
            return self._ask(outlet, error)
        return self._ask(outlet, None)

    def _settled(self, pending: Mapping[Any, Request | Query], until: float) -> list[Request | Outlet]:
        """Wait until something is settled, or for a point in time; return for whom."""

        def settled() -> list[Request | Outlet]:
            return [each for each, job in pending.items() if job.settled.is_set()]

        left = max(0.0, until - time.monotonic())
        if len(pending) == 1:  # this is most of the time, and an event is cheaper than a condition that all share
            for job in pending.values():
                job.settled.wait(left)
            return settled()
        with self._lock:
            self._changed.wait_for(settled, left)
            return settled()


def _standing(step: Step) -> str:
    """Return what keeps a step that has not failed yet."""
    if step.running:
        return f"{step.outlet.pdu}: the device has not answered yet"
    left = step.at - time.monotonic()
    if left <= 0:
        return f"{step.outlet.pdu}: the device is busy"
    if step.request.action is Action.REBOOT:
        return f"{step.outlet} is off, and is switched on in {left:.0f} s"
    return f"waiting for its delay, for {left:.0f} s more"


def _pdus(wanted: Iterable[Request | Outlet]) -> Iterator[str]:
    for each in wanted:
        for outlet in each.target.outlets if isinstance(each, Request) else [each]:
            yield outlet.pdu
