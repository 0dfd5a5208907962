# SPDX-License-Identifier: MIT
"""`LiveRecords`: requests, commands and PDUs as people and programs look at them.

What history has comes from the store, through a connection of its own; to that is added, for a moment under the lock,
what only a live request knows. Looking switches nothing.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pdudaemon.config.model import PDUConfig
from pdudaemon.engine import softoff
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import has_to_wait
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.lanes import Lanes
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.storage.storerows import names_of, record_of
from pdudaemon.engine.storage.storesearch import EVERYTHING, Search
from pdudaemon.engine.waiting import Waiting
from pdudaemon.power import Request

AT_ONCE = 50  # requests or PDUs that are looked at in one go with the lock held

Seen = Callable[[dict[str, Any]], bool]
"""Whether whoever asks may see a request, by its record."""


class LiveFigures(NamedTuple):
    """How many requests have not ended, when the oldest of them was accepted (seconds since the epoch, None: there is
    none), and how many outlets of each PDU may be off and have yet to be switched on.
    """

    unended: int
    oldest: float | None
    owed: Counter[str]


class LiveRecords:
    """Any thread, without the dispatcher's lock."""

    def __init__(self, lock: Waiting, store: Store, lanes: Lanes, fleet: Fleet, clock: Clock) -> None:
        self._lock = lock
        self._store = store
        self._lanes = lanes
        self._fleet = fleet
        self._clock = clock

    def request(self, number: int) -> dict[str, Any]:
        """Return one request as a record. Raises: NoSuchRequest, StoreError."""
        return self._described([self._store.record(number)])[0]

    def requests(self, most: int, search: Search = EVERYTHING, seen: Seen | None = None) -> list[dict[str, Any]]:
        """Return the newest requests that are looked for, newest first, those alone that may be ``seen``.

        Raises: StoreError.
        """
        live = [*self._lanes.live]  # one step of the interpreter: it needs no lock, however many there are
        records = map(record_of, self._store.searches.found(search, live))
        found: list[dict[str, Any]] = []
        while some := list(itertools.islice(records, min(AT_ONCE, most - len(found)))):
            described = self._described(some)
            found += [each for each in described if search.stands(each["state"]) and (seen is None or seen(each))]
        return found

    def figures(self) -> LiveFigures:
        """Return figures of what has not ended. Each copy is one step of the interpreter, and needs no lock."""
        requests = [*self._lanes.live.values(), *self._lanes.kept.values()]
        owed = Counter(outlet.pdu for request in requests for outlet in [*request.debts])
        return LiveFigures(len(requests), min((request.accepted for request in requests), default=None), owed)

    def command(self, number: int) -> dict[str, Any]:
        """Return a command as a record, with an entry for each node. Raises: NoSuchRequest, StoreError."""
        command, rows = self._store.command(number)
        records = self._described([record_of(row) for row in rows])
        found = {name: record for row, record in zip(rows, records, strict=True) for name in names_of(row)}
        nodes = [
            {"name": name, "request": record["id"], **{word: record[word] for word in ("state", "ended", "reason")}}
            for name in command.names
            if (record := found.get(name)) is not None
        ]
        return {
            "id": command.id,
            "action": command.action,
            "client": command.client,
            "accepted": command.accepted,
            "state": "running" if any(node["ended"] is None for node in nodes) else "ended",
            "nodes": nodes,
        }

    def pdus(
        self, after: str = "", most: int | None = None, wanted: Callable[[str], bool] = bool
    ) -> list[dict[str, Any]]:
        """Return the records that `each_pdu` yields."""
        return [*self.each_pdu(after, most, wanted)]

    def each_pdu(
        self, after: str = "", most: int | None = None, wanted: Callable[[str], bool] = bool
    ) -> Iterator[dict[str, Any]]:
        """Yield a record for each PDU, in the order of the configuration, ``most`` of them behind ``after``.

        ``wanted`` says of a name whether it is to be among them; another one is as good as none in ``after``.
        """
        with self._lock:
            names = [*self._fleet.pdus]  # also those that are leaving
        first = names.index(after) + 1 if after in self._fleet.pdus and wanted(after) else 0
        left = itertools.islice(filter(wanted, names[first:]), most)
        while some := [*itertools.islice(left, AT_ONCE)]:
            seen: list[tuple[PDUConfig, str, int]] = []
            with self._lock:
                for name in some:
                    if (pdu := self._fleet.pdus.get(name)) is not None:
                        seen.append((pdu, self._fleet.state(name), self._lanes.load[name]))
            for pdu, state, load in seen:
                yield {
                    "name": pdu.name,
                    "driver": pdu.driver_name,
                    "state": state,
                    "reason": pdu.fault or None,
                    "readable": pdu.readable,
                    "requests": load,
                }

    def _described(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add to records of the store what only live requests know."""
        for begin in range(0, len(records), AT_ONCE):
            with self._lock:
                for record in records[begin : begin + AT_ONCE]:
                    if (request := self._lanes.live.get(record["id"])) is not None:
                        running = any(step.running for step in request.work)
                        record["state"] = "running" if running else "waiting" if request.steps else "queued"
                        problem = request.trouble or request.error
                        wait, uptime = _staggered(request), self._clock.uptime()
                        left = softoff.time_left(request, uptime) if wait is None else wait
                        standing = softoff.standing(request, uptime) if wait is None else has_to_wait(wait)
                        record["due"] = None if not left else self._clock.wall() + left
                        record["reason"] = standing if problem is None else problem.told
        return records


def _staggered(request: Request) -> float | None:
    """Return for how many seconds a request has to wait for other ons, None if it has not."""
    waits = [step.at for step in request.steps if step.staggered and not step.running and not step.ended]
    left = min(waits, default=0.0) - time.monotonic()
    return left if left > 0 else None
