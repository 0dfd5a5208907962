# SPDX-License-Identifier: MIT
"""Status asked of devices: straight into the PDU's queue, past the lanes, one attempt, not stored.

Those who ask the same before the question has been put share its answer; a question that nobody waits for any more is
dropped unread. It stays in the queue until then, and is counted: there is room for ``max_queue`` of them for each PDU.
`Seats` bounds how many clients may wait for a result, each of which takes a thread, so that one dead PDU cannot take
them all.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from pdudaemon.config.model import DaemonOptions
from pdudaemon.errors import Busy, PDUDaemonError
from pdudaemon.power import Action, Outlet, Reading


class Query:
    """One status question. Fields belong to the dispatcher and change under its lock."""

    action = Action.STATUS

    def __init__(self, outlet: Outlet, answer: Reading | PDUDaemonError | None = None) -> None:
        self.outlet = outlet
        self.callers = 1
        self.answer = answer
        self.settled = threading.Event()
        if answer is not None:
            self.settled.set()

    def tell(self, answer: Reading | PDUDaemonError) -> None:
        """Answer those who asked; the first answer counts."""
        if self.answer is None:
            self.answer = answer
            self.settled.set()


class Queries:
    """The questions not yet put to a device. Called with the dispatcher's lock held."""

    def __init__(self, daemon: DaemonOptions, send: Callable[[Query], None]) -> None:
        self.daemon = daemon
        self.queued: Counter[str] = Counter()  # in the queue of each PDU, those that nobody waits for among them
        self._send = send
        self._pending: dict[Outlet, Query] = {}

    def ask(self, outlet: Outlet) -> Query:
        """Return the pending question for an outlet, with the caller counted in. Raises: Busy if there are too many."""
        query = self._pending.get(outlet)
        if query is None:
            if self.queued[outlet.pdu] >= self.daemon.max_queue:
                raise Busy(f"{outlet.pdu}: its queue is full: {self.queued[outlet.pdu]} questions for a status")
            self.queued[outlet.pdu] += 1
            query = self._pending[outlet] = Query(outlet)
            self._send(query)
        else:
            query.callers += 1
        return query

    def begin(self, query: Query) -> bool:
        """Say whether a question is still worth asking; from now on nobody else joins it."""
        self.queued[query.outlet.pdu] -= 1
        if not self.queued[query.outlet.pdu]:
            del self.queued[query.outlet.pdu]
        if self._pending.get(query.outlet) is query:
            del self._pending[query.outlet]
        return query.callers > 0 and query.answer is None

    def refuse(self, error: PDUDaemonError, names: Iterable[str] | None = None) -> None:
        """Answer all pending questions, or those to some PDUs, with an error."""
        for outlet in [outlet for outlet in self._pending if names is None or outlet.pdu in names]:
            self._pending.pop(outlet).tell(error)


class Seats:
    """Room for those who wait for a result, bounded for each PDU and in all."""

    def __init__(self, options: DaemonOptions) -> None:
        self.options = options
        self.lock = threading.Lock()
        self.taken: Counter[str] = Counter()
        self.all = 0


class Seat:
    """The place of one client that waits, which counts once in all and once for each PDU that it waits for."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._pdus: set[str] = set()

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave([*self._pdus])

    def take(self, names: Iterable[str]) -> None:
        """Take room at some PDUs, at all of them or at none. Raises: Busy, if too many wait already."""
        seats, names = self._seats, {*names} - self._pdus
        if not names:
            return
        with seats.lock:
            if not self._pdus and seats.all >= seats.options.max_waiters:
                raise Busy("too many requests wait for their results already")
            for name in sorted(names):
                if seats.taken[name] >= seats.options.max_waiters_per_pdu:
                    raise Busy(f"{name}: too many requests wait for it already")
            seats.all += not self._pdus
            seats.taken.update(names)
            self._pdus |= names

    def leave(self, names: Iterable[str]) -> None:
        """Give up the room at some PDUs, which are not waited for any more."""
        seats, names = self._seats, self._pdus.intersection(names)
        if not names:
            return
        with seats.lock:
            self._pdus -= names
            seats.all -= not self._pdus
            seats.taken.subtract(names)
