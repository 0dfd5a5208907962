# SPDX-License-Identifier: MIT
"""`Dispatcher`: what the ways in talk to. It owns workers, lanes, timetable and store, under one lock.

A request goes `submit` -> lane -> PDU's queue -> `_begin` -> driver -> `_end` -> lane; whoever waits is called back.

A thread inside a driver cannot be killed or replaced. Past its deadline and a grace its PDU is *stuck*: who waits is
told, and new requests are refused, until it comes back.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.device import Device
from pdudaemon.engine.events import Events
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.lanes import Lanes
from pdudaemon.engine.queries import Answer, Look, Queries, Query
from pdudaemon.engine.runner import PDURunner
from pdudaemon.engine.store import Store
from pdudaemon.engine.storerows import names_of, record_of
from pdudaemon.engine.timetable import Entry, Timetable
from pdudaemon.engine.waiting import Waiting, became, not_done
from pdudaemon.errors import (
    Busy,
    Conflict,
    DeviceError,
    DeviceTimeout,
    KeyUsed,
    Locked,
    PDUDaemonError,
    RequestEnded,
    StoreError,
)
from pdudaemon.power import (
    Action,
    Command,
    Outlet,
    Phase,
    Reading,
    Request,
    Stage,
    State,
    Step,
    Submission,
    Target,
    Waiter,
)
from pdudaemon.transports import command

log = logging.getLogger("pdud.dispatcher")

STUCK_GRACE = 5.0  # seconds past its deadline before an action counts as stuck
THREAD_PAUSE = 1.0  # seconds before asking again for a thread that the machine would not give
FEW = 32  # requests to one PDU that any address may have under way, if the configuration does not say
AT_ONCE = 50  # PDUs that are looked at in one go with the lock held
LEAVE_GRACE = 1.0  # seconds for threads to end once nothing is awaited from them any more


class Pulse(NamedTuple):
    """What ails the daemon, empty if it is well: ``hangs`` until it is started anew, or the ``store`` takes nothing."""

    hangs: str = ""
    store: str = ""


class Dispatcher:
    """The heart of the daemon. Public methods may be called by any thread and raise `pdudaemon.errors` only."""

    def __init__(self, config: Config, store: Store, locks: Path | None = None, clock: Clock | None = None) -> None:
        """Switch nothing yet. ``locks`` is the folder for the lock files of the devices, None for none."""
        self.config = config
        self._clock = clock or Clock()
        self.events = Events(self._clock)
        self._store = store
        self._lock = Waiting(store, self._not_written)
        self._came_back = threading.Condition(self._lock)  # type: ignore[arg-type]
        self._timetable = Timetable(self._lock)
        self._fleet = Fleet(config.pdus, locks, self._begin, self._end)
        self._lanes = Lanes(
            config.daemon, self._fleet.pdus, store, self._timetable, self._lock, self._send, self._clock, self.events
        )
        self._queries = Queries(config.daemon, self._lock, self._send)
        self._acting: dict[Device, Entry] = {}  # those that act; the entry calls one stuck that is not back in time
        self._closing = False
        self._closed = False

    # Called without the lock.

    def start(self) -> None:
        """Take up what the store holds of earlier runs, in the order of acceptance, and begin."""
        with self._lock:
            for request in self._store.live():
                self._lanes.resume(request)
        self._timetable.start()

    def reload(self, config: Config) -> None:
        """Go on with another configuration, which has no faults. Switches nothing.

        A PDU that has changed gets its new driver before its next action; one that is not configured any more ends what
        was accepted, and goes. A request for a port that there is not any more is ended.
        """
        with self._lock:
            self._fleet.change(config.pdus)
            self.config = config
            self._lanes.daemon = self._queries.daemon = config.daemon
            self._store.history = config.daemon.history
            self._lanes.end_impossible()
            self._lanes.resume_kept()
            for name in [*self._fleet.pdus]:
                self._fleet.let_go(name, self._lanes.load[name])
            self.events.reload()
            self._came_back.notify_all()

    def submit(self, wanted: Sequence[Submission], command: Command | None = None) -> list[Request | PDUDaemonError]:
        """Accept requests, in this order, as one transaction, with the command that they make up.

        When this returns those accepted are committed, and are carried out whatever happens to the caller. Return for
        each the request, or why it was not accepted: RequestError (Locked, Busy), StoreError. What has an idempotency
        key that is on record is not accepted once more: it is the request, or the command, that was. What the names of
        a target mean is looked up anew if a reload has come since they were.
        """
        while True:
            config = self.config
            requests = [self._request(config, each) for each in wanted]
            with self._lock:
                if config is self.config:  # else a reload came between: the names may mean something else by now
                    accepted = self._accept(wanted, requests, command)
                    break
        if config.daemon.fsync == "all":
            self._sync_accepted(accepted)
        for request in accepted if log.isEnabledFor(logging.DEBUG) else ():
            if isinstance(request, Request):
                log.debug("%s, delay %g s, accepted from %s", request, request.delay, request.client)
        return accepted

    def _request(self, config: Config, wanted: Submission) -> Request | PDUDaemonError:
        try:
            target = config.current(wanted.target)
        except PDUDaemonError as error:
            return error
        if target.locked:
            return Locked(target.locked)
        if wanted.action is not Action.REBOOT:
            phase = Phase(wanted.action.value)
        elif len(target.outlets) == 1 and config.restarts(target.outlets[0]):
            phase = Phase.RESTART
        else:
            phase = Phase.OFF
        request = Request(
            wanted.action, target, wanted.delay, wanted.client, self._clock.wall(), phase, remaining=[*target.outlets]
        )
        request.boot, request.accepted_uptime = self._clock.boot, self._clock.uptime()
        request.address, request.names, request.key = wanted.address, wanted.names, wanted.key
        if wanted.waiter is not None:
            request.waiters.append(wanted.waiter)
        return request

    def _sync_accepted(self, accepted: list[Request | PDUDaemonError]) -> None:
        """Put new requests on the disk; those that it does not take are ended, unless they have begun."""
        try:
            self._store.sync()
        except StoreError as error:
            with self._lock:
                for place, request in enumerate(accepted):
                    if isinstance(request, Request) and request.started is None and request.ended is None:
                        self._lanes.forget(request, error)
                        accepted[place] = error
            log.error("%s", error)

    def ask(self, looks: Sequence[Look]) -> None:
        """Ask for the states that some wait for; each is told once.

        A state that cannot be read is what the outlet was last told to be.
        """
        with self._lock:
            for look in looks:
                for outlet in look.outlets:
                    try:
                        if self._configured(outlet).readable:
                            self._check_alive(outlet.pdu, DeviceTimeout)
                            look.queries.append(self._queries.ask(outlet, look.heard))
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

    def join(self, request: Request, waiter: Waiter) -> None:
        """Have a waiter told of a request that was accepted before, at once if that is settled."""
        with self._lock:
            self._lock.join(self._lanes.find(request.id) or request, waiter)

    def so_far(self, request: Request, seconds: float) -> PDUDaemonError | None:
        """Return what there is to tell of a request that was waited for so long; None: it is done."""
        with self._lock:
            return became(request) if request.settled else not_done(request, seconds, self._lanes.ahead(request))

    def cancel(self, number: int, half: str = "") -> None:
        """End a request that has not started; the on that makes good an off of ours only if ``half`` is ``on``.

        Raises: NoSuchRequest, Conflict, StoreError: it has ended, but a crash would make it rise again.
        """
        with self._lock:
            request = self._lanes.find(number)
            if request is not None:
                self._lanes.cancel(request, half)
            self._came_back.notify_all()
        if request is None:
            raise Conflict(f"request {number} cannot be cancelled: it is {self._store.record(number)['state']}")
        self._store.flush()

    def hurry(self, request: Request) -> None:
        """Let the on half of a reboot under way follow at once."""
        with self._lock:
            self._lanes.hurry(request)

    def record(self, number: int) -> dict[str, Any]:
        """Return one request as a record. Raises: NoSuchRequest, StoreError."""
        record = self._store.record(number)
        with self._lock:
            return self._lanes.described(record)

    def command(self, number: int) -> dict[str, Any]:
        """Return a command as a record, with an entry for each node. Raises: NoSuchRequest, StoreError."""
        command, rows = self._store.command(number)
        records = [(names_of(row), record_of(row)) for row in rows]
        with self._lock:
            found = {name: self._lanes.described(record) for names, record in records for name in names}
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

    def records(self, most: int) -> list[dict[str, Any]]:
        """Return the newest requests as records, newest first. Raises: StoreError."""
        records = [record_of(row) for row in self._store.rows(most)]
        with self._lock:
            return [self._lanes.described(record) for record in records]

    def snapshot(
        self, after: str = "", most: int | None = None, wanted: Callable[[str], bool] = bool
    ) -> list[dict[str, Any]]:
        """Return a record for each PDU, in the order of the configuration, ``most`` of them behind ``after``.

        ``wanted`` says of a name whether it is to be among them.
        """
        with self._lock:
            names = [*self._fleet.pdus]  # also those that are leaving
        names = [name for name in names if wanted(name)]
        first = names.index(after) + 1 if after in names else 0
        names = names[first:] if most is None else names[first : first + most]
        seen: list[tuple[PDUConfig, str, int]] = []
        for begin in range(0, len(names), AT_ONCE):
            with self._lock:
                for name in names[begin : begin + AT_ONCE]:
                    if (pdu := self._fleet.pdus.get(name)) is not None:
                        seen.append((pdu, self._fleet.state(name), self._lanes.load[name]))
        return [
            {
                "name": pdu.name,
                "driver": pdu.driver_name,
                "state": state,
                "reason": pdu.fault or None,
                "readable": pdu.readable,
                "requests": load,
            }
            for pdu, state, load in seen
        ]

    def pulse(self, seconds: float, thoroughly: bool = False) -> Pulse:
        """Return what is not well, within some seconds whatever it is. A worker that is busy, or stuck, is well.

        ``thoroughly``: the store is written to, which whoever asks by himself must not do for ever on an idle machine.
        """
        until = time.monotonic() + seconds
        turned = threading.Event()
        refused: list[str] = []

        def turn() -> None:
            try:
                self._store.probe(thoroughly)
            except StoreError as error:
                refused.append(str(error))
            turned.set()

        if not self._timetable.turning:
            return Pulse("the timetable has stopped")
        if not self._lock.acquire(timeout=seconds):
            return Pulse("the dispatcher does not turn")
        try:
            dead = [str(runner) for runner in self._fleet.runners.values() if runner.dead]
            self._timetable.at(time.monotonic(), turn)  # where it holds up nobody who asks how we are
        finally:
            self._lock.release()
        if not turned.wait(max(0.0, until - time.monotonic())):
            return Pulse("the timetable does not turn")
        return Pulse(f"{', '.join(dead)} has died" if dead else "", "".join(refused))

    def summary(self) -> str:
        """Return how things are, in one line."""
        with self._lock:
            stuck = self._fleet.stuck()
            requests = len(self._lanes.live)
            pdus = len(self._fleet.runners)
        return f"{pdus} PDUs, {requests} requests not ended" + (f", stuck: {', '.join(stuck)}" if stuck else "")

    def close(self, bound: float, last_words: Callable[[], object] = lambda: None) -> tuple[list[str], list[str]]:
        """Accept nothing more, wait for what acts and the owed ons due within ``bound`` seconds, and let go.

        Everything else stays in the store for the next start; ``last_words`` waits for those who still ask it. Return
        the names of the threads that are still running, and what has yet to be switched on.
        """
        until = time.monotonic() + bound
        with self._lock:
            self._closing = True
            self._queries.refuse(Busy("the daemon is stopping"))
            while (self._lanes.leave_off(until) or self._acting) and (left := until - time.monotonic()) > 0:
                self._came_back.wait(left)
            self._closed = True
            for request in self._lanes.live.values():
                self._lock.settle(request)  # also of what acts beyond the bound
            owed = self._lanes.owed()
            for line in owed:
                log.warning("%s", line)
            self._timetable.stop()
        killed = command.kill_all()
        if killed:
            log.warning("%d commands were still running and have been killed", killed)
        workers: list[Timetable | PDURunner] = [self._timetable, *self._fleet.runners.values()]
        for runner in self._fleet.runners.values():
            runner.stop()
        until = time.monotonic() + LEAVE_GRACE
        absent = [str(worker) for worker in workers if not worker.join(max(0.0, until - time.monotonic()))]
        for device in self._fleet.devices.values():
            if not device.lock.locked():
                device.close()
        last_words()
        try:
            self._store.flush()
        except StoreError as error:
            log.error("what became of some requests is not on record: %s", error)
        self._store.close()
        return absent, owed

    def _not_written(self, error: StoreError) -> None:
        """Try again later to write what the store did not take."""
        log.error("what became of some requests is not on record: %s", error)
        with self._lock:
            self._lanes.write_later()

    # Called by the workers, without the lock.

    def _begin(self, runner: PDURunner, job: Step | Query) -> bool:
        """Say whether a job is still wanted; from then on it acts."""
        with self._lock:
            if isinstance(job, Query):
                wanted = self._queries.begin(job) and not self._closing
            else:
                wanted = job.stage is Stage.QUEUED and not (self._closed or (self._closing and not job.owed))
            if not wanted:
                return False
            self._watch(runner)
            if isinstance(job, Query) or not self._lanes.begin(job):
                return True
        return self._promise(runner, job)

    def _promise(self, runner: PDURunner, step: Step) -> bool:
        """Put on the disk what a step is about to do; return whether it may.

        Each step does so for itself, so that none acts on the word of another that the disk has not taken yet. A slow
        disk holds up this PDU alone.
        """
        request = step.request
        with self._lock:
            indebted = step.outlet in request.debts
            if step.action is Action.OFF:
                request.debts.add(step.outlet)
            self._store.note(request)
        try:
            self._store.flush()
            self._store.sync()
        except StoreError as error:
            with self._lock:
                if not indebted:
                    request.debts.discard(step.outlet)
                self._came(runner.device)
                self._lanes.refuse(step, error)
                self._fleet.let_go(step.outlet.pdu, self._lanes.load[step.outlet.pdu])
            return False
        with self._lock:
            step.promised = True
            if step.ended or self._closed:
                step.drop()
                self._came(runner.device)
                return False
            self._watch(runner)
        return True

    def _end(self, runner: PDURunner, job: Step | Query, state: State | None, error: DeviceError | None) -> None:
        """Take in what came of a job."""
        with self._lock:
            self._came(runner.device)
            if isinstance(job, Query):
                self._queries.answer(job, error or Reading(state or State.UNKNOWN, "device", self._clock.wall()))
            elif not self._closed:
                self._lanes.attempt_ended(job, error)
                self._fleet.let_go(job.outlet.pdu, self._lanes.load[job.outlet.pdu])

    # Called with the lock held.

    def _accept(
        self, wanted: Sequence[Submission], requests: list[Request | PDUDaemonError], command: Command | None
    ) -> list[Request | PDUDaemonError]:
        """Commit those of some requests that can be accepted; return each, or why it is not."""
        assert self._lock.locked()
        new: Counter[str] = Counter()
        keys: dict[str, Request] = {}
        accepted = []
        try:
            if command is not None and command.key and (found := self._store.find_key(command.key)) is not None:
                return self._once_more(wanted, requests, command, found)
            for place, request in enumerate(requests):
                if not isinstance(request, Request):
                    continue
                known = self._known(request, keys) if request.key else None
                if known is not None:
                    requests[place] = known
                    self._wait_as_well(known, wanted[place])
                    continue
                try:
                    for outlet in request.target.outlets:
                        self._check_open(outlet.pdu, request.address, new[outlet.pdu])
                except PDUDaemonError as error:
                    requests[place] = error
                    continue
                new.update({outlet.pdu for outlet in request.target.outlets})
                accepted.append(request)
            if accepted:
                self._lanes.enter(accepted, command)
        except StoreError as error:
            return [error if isinstance(request, Request) else request for request in requests]
        return requests

    def _known(self, request: Request, keys: dict[str, Request]) -> Request | PDUDaemonError | None:
        """Return the request that was accepted with the key of this one; None: none was. ``keys`` has this turn's."""
        if request.key in keys:
            before = keys[request.key]
        elif (found := self._store.find_key(request.key)) is None:
            keys[request.key] = request
            return None
        elif found[0] == "command":
            return KeyUsed(f"the idempotency key {request.key[:100]!r} is that of command {found[1]}")
        else:
            before = self._lanes.find(found[1]) or self._store.request(found[1])
        if _same(before, request):
            return before
        return KeyUsed(f"the idempotency key {request.key[:100]!r} is that of another request, {before.id}")

    def _once_more(
        self,
        wanted: Sequence[Submission],
        requests: list[Request | PDUDaemonError],
        command: Command,
        found: tuple[str, int],
    ) -> list[Request | PDUDaemonError]:
        """Return the requests of the command that was accepted with the key of this one."""
        used = KeyUsed(f"the idempotency key {command.key[:100]!r} is that of another {found[0]}, {found[1]}")
        if found[0] != "command":
            return [used for _ in wanted]
        before, rows = self._store.command(found[1])
        if (before.action, before.names) != (command.action, command.names):
            return [used for _ in wanted]
        command.id, command.accepted = before.id, before.accepted
        by_name = {name: row["id"] for row in rows for name in names_of(row)}
        for place, each in enumerate(wanted):
            number = by_name.get(each.names[0]) if each.names else None
            if number is not None:
                request = self._lanes.find(number) or self._store.request(number)
                requests[place] = request
                self._wait_as_well(request, each)
            elif isinstance(requests[place], Request):
                requests[place] = RequestEnded(f"was refused when command {before.id} was accepted")
        return requests

    def _wait_as_well(self, request: Request | PDUDaemonError, wanted: Submission) -> None:
        if isinstance(request, Request) and wanted.waiter is not None:
            self._lock.join(request, wanted.waiter)

    def _configured(self, outlet: Outlet) -> PDUConfig:
        """Return the PDU of an outlet, with or without the lock. Raises: Busy if a reload took it away meanwhile."""
        try:
            return self.config.pdus[outlet.pdu]
        except KeyError:
            raise Busy(f"{outlet.pdu} is not configured any more") from None

    def _last_told(self, outlet: Outlet) -> Reading:
        told = self._store.last_told(outlet)
        return Reading(told[0], "commanded", told[1]) if told else Reading(State.UNKNOWN, "none", None)

    def _check_alive(self, name: str, kind: type[Busy] | type[DeviceTimeout]) -> None:
        if self._closing:
            raise Busy("the daemon is stopping")
        if name not in self._fleet.runners:
            raise Busy(f"{name} is not configured any more")
        stuck = self._fleet.runners[name].device.stuck
        if stuck:
            raise kind(f"{name}: stuck: an action of {stuck} has not come back from the device")

    def _check_open(self, name: str, address: str, more: int) -> None:
        """Raises: Busy if a PDU has no room for another request, from an address, behind ``more`` that come with it."""
        self._check_alive(name, Busy)
        options = self.config.daemon
        load = self._lanes.load[name] + more
        if load >= options.max_queue:
            raise Busy(f"{name}: its queue is full: {load} requests")
        if address:
            own = self._lanes.load_from[address, name] + more
            if own >= (options.max_queue_per_address or max(FEW, options.max_queue // 4)):
                raise Busy(f"{name}: its queue is full for {address}: {own} requests are from there")
        left = self._fleet.runners[name].waiting - self._queries.queued[name]
        if left >= options.max_queue:  # of requests that have been cancelled since
            raise Busy(f"{name}: its queue is full: {left} steps, and the device does not get on")

    def _send(self, job: Step | Query) -> None:
        runner = self._fleet.runners[job.outlet.pdu]
        runner.put(job)
        self._see_started(runner)

    def _see_started(self, runner: PDURunner) -> None:
        """Start a worker's thread, now or as soon as the machine has one for us."""
        if not runner.start():
            self._timetable.at(time.monotonic() + THREAD_PAUSE, lambda: self._see_started(runner))

    def _watch(self, runner: PDURunner) -> None:
        """Have an action, from now on, called stuck if it is not back in time."""
        device = runner.device
        if device in self._acting:
            self._acting[device].cancel()
        due = time.monotonic() + runner.pdu.options.timeout + STUCK_GRACE
        self._acting[device] = self._timetable.at(due, lambda: self._stuck(device))

    def _came(self, device: Device) -> None:
        """Note that the action of a device has come back."""
        assert self._lock.locked()
        entry = self._acting.pop(device, None)
        if entry is not None:
            entry.cancel()
        if device.stuck:
            log.warning("%s: the device came back, the PDU is not stuck any more", device.stuck)
            device.stuck = ""
            self._tell_state(device)
        self._came_back.notify_all()

    def _stuck(self, device: Device) -> None:
        """Tell all who wait for a device that its action has not come back."""
        sharing = self._fleet.sharing(device)
        device.stuck = ", ".join(sorted(sharing))
        log.error("%s: stuck: an action has not come back from the device", device.stuck)
        trouble = DeviceTimeout(f"{device.stuck}: stuck: no answer, and it is not known whether the device acted")
        self._queries.refuse(trouble, sharing)
        self._lanes.tell(sharing, trouble)
        self._tell_state(device)
        self._came_back.notify_all()

    def _tell_state(self, device: Device) -> None:
        """Publish how the PDUs are that are one device."""
        reason = "an action has not come back from the device" if device.stuck else ""
        for name in self._fleet.sharing(device):
            self.events.pdu(name, self._fleet.state(name), reason, None)


def _same(one: Request, other: Request) -> bool:
    """Whether two requests ask for the same."""
    return (one.action, one.delay, {*one.target.outlets}) == (other.action, other.delay, {*other.target.outlets})
