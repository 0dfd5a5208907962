# SPDX-License-Identifier: MIT
"""`Acceptance`: which of the requests that are asked for are taken on.

A request is refused if what its target names is not there or locked, or if a PDU has no room for it. One whose
idempotency key is on record is not accepted once more: it is the request, or the command, that was. Those accepted are
committed, as one transaction, and put into their lanes. Who accepts waits for others who do, and for a reload
(``entering``), so that there is one order of all requests; the workers go on meanwhile, as the dispatcher's lock is not
held while the store writes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence

from pdudaemon.config.model import Config
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.interventions import Interventions
from pdudaemon.engine.lanes import Lanes
from pdudaemon.engine.queries import Queries
from pdudaemon.engine.softoff import refusal
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.storage.storerows import names_of
from pdudaemon.engine.surveys import Surveys
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import Busy, KeyUsed, Locked, PDUDaemonError, RequestEnded, StoreError
from pdudaemon.power import Action, Command, Phase, Request, Soft, Submission

log = logging.getLogger("pdud.dispatcher")

FEW = 32  # requests to one PDU that any address may have under way, if the configuration does not say

Accepted = list[Request | PDUDaemonError]
"""For each request that was asked for: itself, or why it was not accepted."""


class Acceptance:
    """``config`` is replaced by a reload, with ``entering`` held. Who holds that, or waits for it, must not lead."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        store: Store,
        lock: Waiting,
        lanes: Lanes,
        fleet: Fleet,
        queries: Queries,
        surveys: Surveys,
        interventions: Interventions,
    ) -> None:
        self.config = config
        self.entering = threading.Lock()  # taken before the dispatcher's
        self._clock = clock
        self._store = store
        self._lock = lock
        self._lanes = lanes
        self._fleet = fleet
        self._queries = queries
        self._surveys = surveys
        self._interventions = interventions

    def submit(self, wanted: Sequence[Submission], command: Command | None = None) -> Accepted:
        """Accept requests, in this order, as one transaction, with the command that they make up. Any thread.

        When this returns those accepted are committed, and are carried out whatever happens to the caller. Return for
        each the request, or why it was not accepted: RequestError (Locked, Busy), StoreError. What the names of a
        target mean is looked up anew if a reload has come since they were.
        """
        with self.entering:
            config = self.config
            requests: Accepted = []
            for each in wanted:
                requests.append(self._request(config, each))
            try:
                if command is not None and command.key and (found := self._store.find_key(command.key)) is not None:
                    requests = self._once_more(wanted, requests, command, found)
                else:
                    self._enter(wanted, requests, command)
            except StoreError as error:
                requests = [error if isinstance(request, Request) else request for request in requests]
        self._lock.lead()
        if config.daemon.fsync == "all":
            self._sync(requests)
        if log.isEnabledFor(logging.DEBUG):
            for request in requests:
                if isinstance(request, Request):
                    log.debug("%s, delay %g s, accepted from %s", request, request.delay, request.client)
        return requests

    def _request(self, config: Config, wanted: Submission) -> Request | PDUDaemonError:
        """Return the request that is wanted, or why there can be none. Without the lock."""
        target = wanted.target
        try:
            if target.found_in is not config.mark:
                target = config.current(target)
            if target.by_name or config.named_pdus:
                target = self._surveys.resolved(target, config)
        except PDUDaemonError as error:
            return error
        if target.locked:
            return Locked(target.locked)
        if wanted.soft is not None and (refused := refusal(config, wanted.action, target)) is not None:
            return refused
        if wanted.action is not Action.REBOOT:
            phase = Phase.ON if wanted.action is Action.ON else Phase.OFF
        elif len(target.outlets) == 1 and wanted.soft is None and config.restarts(target.outlets[0]):
            phase = Phase.RESTART
        else:
            phase = Phase.OFF
        return Request(
            wanted.action,
            target,
            wanted.delay,
            wanted.client,
            self._clock.wall(),
            phase,
            names=wanted.names,
            key=wanted.key,
            boot=self._clock.boot,
            accepted_uptime=self._clock.uptime(),
            remaining=[*target.outlets],
            soft=None if wanted.soft is None else Soft(wanted.soft, wanted.hard),
            address=wanted.address,
            waiters=[] if wanted.waiter is None else [wanted.waiter],
        )

    def _sync(self, accepted: Accepted) -> None:
        """Put new requests on the disk; those that it does not take are ended, unless they have begun."""
        try:
            self._store.sync()
        except StoreError as error:
            with self._lock:
                for place, request in enumerate(accepted):
                    if isinstance(request, Request) and request.started is None and request.ended is None:
                        self._interventions.forget(request, error)
                        accepted[place] = error
            log.error("%s", error)

    # Called with `entering` held.

    def _enter(self, wanted: Sequence[Submission], requests: Accepted, command: Command | None) -> None:
        """Commit those of some requests that can be accepted, and put them into their lanes; the others become errors.

        The lock is not held while the store writes. What could change meanwhile is looked at again then; the rest, only
        others who accept, or a reload, could change: they wait. Raises: StoreError; nothing has happened then.
        """
        before: set[int] = set()
        for place, request in enumerate(requests):
            if isinstance(request, Request) and request.key and (known := self._known(request)) is not None:
                before.add(place)
                requests[place] = known
        accepted: list[Request] = []
        keys: dict[str, Request] = {}
        new: Counter[str | tuple[str, str]] = Counter()
        with self._lock.bare:
            for place, request in enumerate(requests):
                if not isinstance(request, Request):
                    continue
                if request.key and request.key in keys:
                    before.add(place)
                    requests[place] = _once(keys[request.key], request)
                if place in before:
                    self._wait_as_well(requests[place], wanted[place])
                    continue
                try:
                    self._check_room(request, new)
                except PDUDaemonError as error:
                    requests[place] = error
                    continue
                accepted.append(request)
                if request.key:
                    keys[request.key] = request
            debts = self._lanes.take_over(accepted)
        if accepted:
            self._store.add_all(accepted, command)
            with self._lock.bare:
                self._lock.refused = False  # the store takes what there is: what ends from now on need not wait
                self._lanes.enter(accepted, debts)

    def _check_room(self, request: Request, new: Counter[str | tuple[str, str]]) -> None:
        """Raises: Busy if a PDU has no room for a request behind the ``new`` ones, which it is counted among then.

        Those are counted by PDU, and by address and PDU. The lock is held.
        """
        daemon, address = self.config.daemon, request.address
        names = request.target.pdus
        for name in names:
            self._fleet.check(name)
            load = self._lanes.load[name] + new[name]
            if load >= daemon.max_queue:
                raise Busy(f"{name}: its queue is full: {load} requests")
            if address:
                own = self._lanes.load_from[address, name] + new[address, name]
                if own >= (daemon.max_queue_per_address or max(FEW, daemon.max_queue // 4)):
                    raise Busy(f"{name}: its queue is full for {address}: {own} requests are from there")
            left = self._fleet.runners[name].waiting - self._queries.queued[name]
            if left >= daemon.max_queue:  # of requests that have been cancelled since
                raise Busy(f"{name}: its queue is full: {left} steps, and the device does not get on")
        for name in names:
            new[name] += 1
            new[address, name] += 1

    def _known(self, request: Request) -> Request | PDUDaemonError | None:
        """Return the request on record that was accepted with the key of this one; None: none was."""
        found = self._store.find_key(request.key)
        if found is None:
            return None
        if found[0] == "command":
            return _used(request.key, "a command")
        return _once(self._before(found[1]), request)

    def _once_more(
        self, wanted: Sequence[Submission], requests: Accepted, command: Command, found: tuple[str, int]
    ) -> Accepted:
        """Return the requests of the command that was accepted with the key of this one."""
        used = _used(command.key, f"another {found[0]}")
        if found[0] != "command":
            return [used for _ in wanted]
        before, rows = self._store.command(found[1])
        if (before.action, before.names) != (command.action, command.names):
            return [used for _ in wanted]
        by_name = {name: row["id"] for row in rows for name in names_of(row)}
        numbers = [by_name.get(each.names[0]) if each.names else None for each in wanted]
        known = {number: self._before(number) for number in numbers if number is not None}
        for number, each in zip(numbers, wanted, strict=True):
            soft = None if each.soft is None else (each.soft, each.hard)
            if number is not None and _how(known[number]) != (each.delay, soft):
                return [used for _ in wanted]
        command.id, command.accepted = before.id, before.accepted
        for place, (number, each) in enumerate(zip(numbers, wanted, strict=True)):
            if number is not None:
                requests[place] = request = known[number]
                with self._lock.bare:
                    self._wait_as_well(request, each)
            elif isinstance(requests[place], Request):
                requests[place] = RequestEnded(f"was refused when command {before.id} was accepted")
        return requests

    def _before(self, number: int) -> Request:
        """Return a request that was accepted before. Raises: NoSuchRequest, StoreError."""
        request = self._lanes.find(number)
        if request is None:
            self._store.flush()  # so that one which has ended just now has ended on record
            request = self._store.request(number)
        return request

    def _wait_as_well(self, request: Request | PDUDaemonError, wanted: Submission) -> None:
        """Have who asks told of what was accepted before. The lock is held."""
        if isinstance(request, Request) and wanted.waiter is not None:
            self._lock.join(request, wanted.waiter)


def _once(before: Request, request: Request) -> Request | KeyUsed:
    """Return the request that was accepted before with the key of this one, unless they do not ask for the same."""
    one, other = ((each.action, _how(each), {*each.target.outlets}) for each in (before, request))
    if one == other:
        return before
    return _used(request.key, "another request")


def _used(key: str, what: str) -> KeyUsed:
    """Return the refusal of a key. Whose it is, and of which request, is not for everybody."""
    return KeyUsed(f"the idempotency key {key[:100]!r} is that of {what}")


def _how(request: Request) -> tuple[float, tuple[float, bool] | None]:
    """Return the delay that was asked for, and how softly."""
    return request.delay, None if request.soft is None else (request.soft.seconds, request.soft.hard)
