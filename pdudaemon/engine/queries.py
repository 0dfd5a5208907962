# SPDX-License-Identifier: MIT
"""Status asked of devices: straight into the PDU's queue, past the lanes, one attempt, not stored.

Those who ask the same before the question has been put share its answer; a question that nobody waits for any more is
dropped unread. It stays in the queue until then, and is counted: there is room for ``max_queue`` of them for each PDU.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pdudaemon.config.model import DaemonOptions
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import Busy, DeviceTimeout, PDUDaemonError
from pdudaemon.power import Action, Outlet, Reading, together

Answer = Reading | PDUDaemonError
"""The state of something, or why it is not known."""

Asker = Callable[[Outlet, Answer], None]
"""Is told, once, the state of an outlet."""


class Query:
    """One status question. Fields belong to the dispatcher and change under its lock."""

    action = Action.STATUS

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.askers: list[Asker] = []


class Queries:
    """The questions not yet put to a device. Called with the dispatcher's lock held, which is ``waiting``."""

    def __init__(self, daemon: DaemonOptions, waiting: Waiting, send: Callable[[Query], None]) -> None:
        self.daemon = daemon
        self.queued: Counter[str] = Counter()  # in the queue of each PDU, those that nobody waits for among them
        self._waiting = waiting
        self._send = send
        self._pending: dict[Outlet, Query] = {}

    def ask(self, outlet: Outlet, asker: Asker) -> Query:
        """Return the pending question for an outlet, with the asker among those who are told.

        Raises: Busy if there are too many.
        """
        query = self._pending.get(outlet)
        if query is None:
            if self.queued[outlet.pdu] >= self.daemon.max_queue:
                raise Busy(f"{outlet.pdu}: its queue is full: {self.queued[outlet.pdu]} questions for a status")
            self.queued[outlet.pdu] += 1
            query = self._pending[outlet] = Query(outlet)
            self._send(query)
        query.askers.append(asker)
        return query

    def begin(self, query: Query) -> bool:
        """Say whether a question is still worth asking; from now on nobody else joins it."""
        self.queued[query.outlet.pdu] -= 1
        if not self.queued[query.outlet.pdu]:
            del self.queued[query.outlet.pdu]
        if self._pending.get(query.outlet) is query:
            del self._pending[query.outlet]
        return bool(query.askers)

    def answer(self, query: Query, answer: Answer) -> None:
        """Tell those who asked; the first answer counts."""
        for asker in query.askers:
            self._waiting.tell(asker, query.outlet, answer)
        query.askers.clear()

    def refuse(self, error: PDUDaemonError, names: Iterable[str] | None = None) -> None:
        """Answer all pending questions, or those to some PDUs, with an error."""
        for outlet in [outlet for outlet in self._pending if names is None or outlet.pdu in names]:
            self.answer(self._pending.pop(outlet), error)


class Look:
    """The state of a target, put together as its outlets answer; ``told`` is called once, by whoever has the last."""

    def __init__(self, outlets: Sequence[Outlet], told: Callable[[Answer], None]) -> None:
        self.outlets = outlets
        self.queries: list[Query] = []  # those put to devices; they belong to the dispatcher
        self._told = told
        self._answers: dict[Outlet, Answer] = {}
        self._ended = False
        self._lock = threading.Lock()

    def heard(self, outlet: Outlet, answer: Answer) -> None:
        """Take in what one outlet is. Any thread."""
        with self._lock:
            self._answers[outlet] = answer
            if len(self._answers) < len(self.outlets):
                return
        self._end(0)

    def late(self, seconds: float) -> None:
        """Make do with what has come within so many seconds. Any thread."""
        self._end(seconds)

    def _end(self, seconds: float) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        only = self.outlets[0] if len(self.outlets) == 1 else None
        late = DeviceTimeout(
            f"{only.pdu}: no answer within {seconds:g} s" if only else f"no answer within {seconds:g} s"
        )
        feeds = [(outlet, self._answers.get(outlet, late)) for outlet in self.outlets]
        self._told(feeds[0][1] if only else together(feeds))
