# SPDX-License-Identifier: MIT
"""Status asked of devices: straight into the PDU's queue, past the lanes, one attempt, not stored.

Those who ask the same before the question has been put share its answer; a question that nobody waits for any more is
dropped unread. It stays in the queue until then, and is counted: there is room for ``max_queue`` of them for each PDU.
`Seats` bounds how many threads may wait for a result, so that one dead PDU cannot take them all.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from pdudaemon.config import DaemonOptions
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
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def seat(self, names: Iterable[str]) -> Iterator[set[str]]:
        """Hold seats while waiting for some PDUs; yield those that had room, which is none if all room is taken."""
        with self._lock:
            room = self._all < self.options.max_waiters
            seated = {name for name in names if room and self._taken[name] < self.options.max_waiters_per_pdu}
            one = int(bool(seated))
            self._all += one
            self._taken.update(seated)
        try:
            yield seated
        finally:
            with self._lock:
                self._all -= one
                self._taken.subtract(seated)

    def leave(self, seated: set[str], names: set[str]) -> None:
        """Give up the seats at some PDUs, which are not waited for any more."""
        with self._lock:
            self._taken.subtract(seated & names)
            seated -= names
