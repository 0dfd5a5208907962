# SPDX-License-Identifier: MIT
"""`Answers`: waiting for what becomes of several requests and questions at a time.

Called without the dispatcher's lock, which is taken here.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pdudaemon.errors import PDUDaemonError
from pdudaemon.power import Outlet, Phase, Reading, Request
from pdudaemon.queries import Query, Seats


class Answers:
    """``changed`` is notified whenever something may be settled; ``ask`` puts a question (told if there was a seat)."""

    def __init__(
        self, seats: Seats, lock: threading.Lock, changed: threading.Condition, ask: Callable[[Outlet, bool], Query]
    ) -> None:
        self._seats = seats
        self._lock = lock
        self._changed = changed
        self._ask = ask

    def outcome(self, request: Request) -> tuple[bool, PDUDaemonError | None]:
        """Return whether a request has ended, and what there is to tell of it if it is not well."""
        with self._lock:
            ended = request.ended is not None
            return ended, request.error if ended else request.trouble

    def gather(
        self, wanted: Collection[Request | Outlet], seconds: float
    ) -> Iterator[tuple[Request | Outlet, Reading | PDUDaemonError | None]]:
        """Yield the state of each outlet and what became of each request (None: done), as they come in.

        After ``seconds`` nothing comes in any more. A PDU that too many wait for already is not waited for.
        """
        until = time.monotonic() + seconds
        awaited = Counter(_pdus(wanted))
        with self._seats.seat(awaited) as seated:
            pending: dict[Request | Outlet, Request | Query] = {}
            ready: list[Request | Outlet] = []
            for each in wanted:
                if isinstance(each, Outlet):
                    pending[each] = self._ask(each, each.pdu in seated)
                else:
                    pending[each] = each
                    if not seated.issuperset(_pdus([each])):
                        ready.append(each)
            queries = [each for each in pending.values() if isinstance(each, Query)]
            try:
                while ready or (pending and (ready := self._settled(pending, until))):
                    jobs = [(each, pending.pop(each)) for each in ready]
                    awaited.subtract(_pdus(ready))
                    self._seats.leave(seated, {name for name in _pdus(ready) if not awaited[name]})
                    ready = []
                    for each, job in jobs:
                        yield each, job.answer if isinstance(job, Query) else self._became(job)
            finally:
                with self._lock:
                    for query in queries:
                        query.callers -= 1

    def _became(self, request: Request) -> PDUDaemonError | None:
        """Return what became of a request that has settled, or is not waited for; None: done."""
        with self._lock:
            if request.ended is not None:
                return request.error
            if request.trouble is not None:
                return request.trouble
            if not request.settled.is_set():
                so_far = "not waited for, as too many requests wait for it already"
            elif request.phase is Phase.RESTART and request.started is not None:
                so_far = "cut short, as the daemon is stopping"
            else:
                so_far = "but not done: the daemon is stopping, and resumes it when it starts again"
            return PDUDaemonError(f"accepted as request {request.id}, {so_far}")

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


def _pdus(wanted: Iterable[Request | Outlet]) -> Iterator[str]:
    for each in wanted:
        for outlet in each.target.outlets if isinstance(each, Request) else [each]:
            yield outlet.pdu
