# SPDX-License-Identifier: MIT
"""`Answers`: waiting for what becomes of several requests and questions at a time.

Called without the dispatcher's lock, which is taken here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pdudaemon.errors import PDUDaemonError
from pdudaemon.power import Outlet, Reading, Request
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

        After ``seconds`` nothing comes in any more; at once, if too many wait already.
        """
        with self._seats.seat(outlet for each in wanted for outlet in _outlets(each)) as seated:
            until = time.monotonic() + seconds if seated else 0.0
            pending = {each: each if isinstance(each, Request) else self._ask(each, seated) for each in wanted}
            queries = [each for each in pending.values() if isinstance(each, Query)]
            try:
                while pending and (settled := self._settled(pending, until)):
                    for each in settled:
                        job = pending.pop(each)
                        if isinstance(job, Query):
                            yield each, job.answer
                        else:
                            ended, problem = self.outcome(job)
                            if ended or problem is not None:
                                yield each, problem
            finally:
                with self._lock:
                    for query in queries:
                        query.callers -= 1

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


def _outlets(ticket: Request | Outlet) -> Collection[Outlet]:
    return ticket.target.outlets if isinstance(ticket, Request) else (ticket,)
