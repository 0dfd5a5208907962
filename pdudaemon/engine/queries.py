# SPDX-License-Identifier: MIT
"""Status asked of devices: straight into the PDU's queue, past the lanes, one attempt, not stored.

Those who ask the same before the question has been put share its answer; a question that nobody waits for any more is
dropped unread. It stays in the queue until then, and is counted: there is room for ``max_queue`` of them for each PDU.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.surveys import Surveys
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import Busy, DeviceTimeout, PDUDaemonError
from pdudaemon.power import Action, Outlet, Reading, State, Target, together

Answer = Reading | PDUDaemonError
"""The state of something, or why it is not known."""

Asker = Callable[[Outlet, Answer], None]
"""Is told, once, the state of an outlet."""


class Query:
    """One status question. Fields belong to the dispatcher and change under its lock."""

    order = Action.STATUS.value
    lengthy = False

    def __init__(self, outlet: Outlet, crowd: object = None) -> None:
        self.outlet = outlet
        self.crowd = crowd
        self.askers: list[Asker] = []


class Queries:
    """The questions not yet put to a device. ``config`` is replaced by a reload, with the dispatcher's lock held."""

    def __init__(self, config: Config, lock: Waiting, store: Store, fleet: Fleet, surveys: Surveys) -> None:
        self.config = config
        self.queued: Counter[str] = Counter()  # in the queue of each PDU, those that nobody waits for among them
        self._lock = lock
        self._store = store
        self._fleet = fleet
        self._surveys = surveys
        self._pending: dict[Outlet, Query] = {}

    # Called without the lock.

    def ask(self, looks: Sequence[Look]) -> None:
        """Ask for the states that some wait for; each is told once.

        A state that cannot be read is what the outlet was last told to be.
        """
        crowd = object() if len(looks) > 1 else None
        for look in looks:
            try:
                target = Target("", tuple(look.outlets))
                look.outlets = self._surveys.resolved(target, self.config, switching=False).outlets
            except PDUDaemonError as error:
                look.refuse(error)
        with self._lock:
            for look in looks:
                for outlet in () if look.ended else look.outlets:
                    try:
                        if self._configured(outlet).traits.reads_state:
                            self._fleet.check(outlet.pdu, DeviceTimeout)
                            look.queries.append(self._ask(outlet, look.heard, crowd))
                        else:
                            self._lock.tell(look.heard, outlet, self._last_told(outlet))
                    except PDUDaemonError as error:
                        self._lock.tell(look.heard, outlet, error)

    def give_up(self, looks: Sequence[Look], seconds: float) -> None:
        """Have those who have waited so long make do with what has come: what nobody waits for is not asked."""
        with self._lock:
            for look in looks:
                for query in look.queries:
                    if look.heard in query.askers:
                        query.askers.remove(look.heard)
        for look in looks:
            look.late(seconds)

    def look(self, target: Target, seconds: float | None = None) -> Reading:
        """Return the state of a target, for a caller that has a thread to wait with; that of a node by its feeds.

        For at most ``seconds`` (default: what `patience` says). Raises: why it is not known.
        """
        told: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        look = Look(target.outlets, told.put)
        patience = self.patience(target) if seconds is None else seconds
        self.ask([look])
        try:
            answer = told.get(timeout=patience)
        except queue.Empty:
            self.give_up([look], patience)
            answer = told.get()
        if isinstance(answer, PDUDaemonError):
            raise answer
        return answer

    def patience(self, target: Target) -> float:
        """Return how many seconds the state of a target is waited for if nobody says. Raises: Busy."""
        return max(self._configured(outlet).options.timeout for outlet in target.outlets)

    def _configured(self, outlet: Outlet) -> PDUConfig:
        """Return the PDU of an outlet, with or without the lock. Raises: Busy if a reload took it away meanwhile."""
        try:
            return self.config.pdus[outlet.pdu]
        except KeyError:
            raise Busy(f"{outlet.pdu} is not configured any more") from None

    # Called with the lock held.

    def _last_told(self, outlet: Outlet) -> Reading:
        told = self._store.last_told(outlet)
        return Reading(told[0], "commanded", told[1]) if told else Reading(State.UNKNOWN, "none", None)

    def _ask(self, outlet: Outlet, asker: Asker, crowd: object) -> Query:
        """Return the pending question for an outlet, with the asker among those who are told.

        Raises: Busy if there are too many.
        """
        query = self._pending.get(outlet)
        if query is None:
            if self.queued[outlet.pdu] >= self.config.daemon.max_queue:
                raise Busy(f"{outlet.pdu}: its queue is full: {self.queued[outlet.pdu]} questions for a status")
            self.queued[outlet.pdu] += 1
            query = self._pending[outlet] = Query(outlet, crowd)
            self._fleet.runners[query.outlet.pdu].put(query)
        query.askers.append(asker)
        return query

    def begin(self, query: Query) -> bool:
        """Say whether a question is still worth asking; from now on nobody else joins it."""
        assert self._lock.bare.locked()
        self.queued[query.outlet.pdu] -= 1
        if not self.queued[query.outlet.pdu]:
            del self.queued[query.outlet.pdu]
        if self._pending.get(query.outlet) is query:
            del self._pending[query.outlet]
        return bool(query.askers)

    def answer(self, query: Query, answer: Answer) -> None:
        """Tell those who asked; the first answer counts."""
        for asker in query.askers:
            self._lock.tell(asker, query.outlet, answer)
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
        self.ended = False
        self._lock = threading.Lock()

    def heard(self, outlet: Outlet, answer: Answer) -> None:
        """Take in what one outlet is. Any thread."""
        with self._lock:
            self._answers[outlet] = answer
            if len(self._answers) < len(self.outlets):
                return
        self._end(0)

    def refuse(self, error: PDUDaemonError) -> None:
        """Tell that nothing can be known. Any thread."""
        with self._lock:
            if self.ended:
                return
            self.ended = True
        self._told(error)

    def late(self, seconds: float) -> None:
        """Make do with what has come within so many seconds. Any thread."""
        self._end(seconds)

    def _end(self, seconds: float) -> None:
        with self._lock:
            if self.ended:
                return
            self.ended = True
        only = self.outlets[0] if len(self.outlets) == 1 else None
        late = DeviceTimeout(
            f"{only.pdu}: no answer within {seconds:g} s" if only else f"no answer within {seconds:g} s"
        )
        feeds = [(outlet, self._answers.get(outlet, late)) for outlet in self.outlets]
        self._told(feeds[0][1] if only else together(feeds))
