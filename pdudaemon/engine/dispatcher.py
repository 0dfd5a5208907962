# SPDX-License-Identifier: MIT
"""`Dispatcher`: what the ways in talk to. It owns runners, lanes, timetable and store, under one lock.

A request goes `submit` -> lane -> PDU's queue -> `_begin` -> driver -> `_end` -> lane; `wait` tells what came of it.

A thread inside a driver cannot be killed or replaced. Past its deadline and a grace its PDU is *stuck*: who waits is
told, and new requests are refused, until it comes back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.engine.answers import Answers
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.lanes import Lanes
from pdudaemon.engine.queries import Queries, Query, Seat, Seats
from pdudaemon.engine.runner import Box, PDURunner
from pdudaemon.engine.store import Store, record_of
from pdudaemon.engine.timetable import Entry, Timetable
from pdudaemon.errors import (
    Busy,
    Conflict,
    DeviceError,
    DeviceTimeout,
    Locked,
    PDUDaemonError,
    StoreError,
)
from pdudaemon.power import (
    Action,
    Outlet,
    Phase,
    Reading,
    Request,
    State,
    Step,
    Target,
    together,
)
from pdudaemon.transports import command

log = logging.getLogger("pdud.dispatcher")

STUCK_GRACE = 5.0  # seconds past its deadline before an action counts as stuck
THREAD_PAUSE = 1.0  # seconds before asking again for a thread that the machine would not give
LEAVE_GRACE = 1.0  # seconds for threads to come home once nothing is awaited from them any more


class Pulse(NamedTuple):
    """What ails the daemon, empty if it is well: ``hangs`` until it is started anew, or the ``store`` takes nothing."""

    hangs: str = ""
    store: str = ""


class Dispatcher:
    """The heart of the daemon. Public methods may be called by any thread and raise `pdudaemon.errors` only."""

    def __init__(self, config: Config, store: Store, locks: Path | None = None, clock: Clock | None = None) -> None:
        """Switch nothing yet. ``locks`` is the folder for the lock files of the boxes, None for none."""
        self.config = config
        self._clock = clock or Clock()
        self._store = store
        self._lock = threading.Lock()
        self._came_home = threading.Condition(self._lock)
        self._timetable = Timetable(self._lock)
        self._fleet = Fleet(config.pdus, locks, self._begin, self._end)
        self._lanes = Lanes(config.daemon, self._fleet.pdus, store, self._timetable, self._send, self._clock)
        self._queries = Queries(config.daemon, self._send)
        self._seats = Seats(config.daemon)
        self._answers = Answers(self._lock, self._came_home, self._asked, self._lanes.ahead)
        self._acting: dict[Box, Entry] = {}  # the boxes that act; the entry calls one stuck that is not back in time
        self._closing = False
        self._closed = False

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
            self._lanes.daemon = self._queries.daemon = self._seats.options = config.daemon
            self._store.history = config.daemon.history
            self._lanes.end_impossible()
            self._lanes.resume_kept()
            for name in [*self._fleet.pdus]:
                self._fleet.let_go(name, self._lanes.load[name])
            self._came_home.notify_all()

    def submit(self, action: Action, target: Target, delay: float = 0.0, client: str = "") -> Request:
        """Accept a request: when this returns it is committed, and will be carried out whatever happens to the caller.

        ``delay`` in seconds: before an on or off, or between the halves of a reboot. What the target's names mean is
        looked up anew if a reload has come since.

        Raises: RequestError (Locked, Busy), StoreError; the request was not accepted then.
        """
        while True:
            config = self.config
            target = config.current(target)
            if target.locked:
                raise Locked(target.locked)
            outlets = list(target.outlets)
            if action is not Action.REBOOT:
                phase = Phase(action.value)
            elif len(outlets) == 1 and config.restarts(outlets[0]):
                phase = Phase.RESTART
            else:
                phase = Phase.OFF
            request = Request(action, target, delay, client, self._clock.wall(), phase, outlets=outlets)
            request.boot, request.accepted_uptime = self._clock.boot, self._clock.uptime()
            with self._lock:
                if config is not self.config:
                    continue  # a reload came between: the names may mean something else, or nothing, by now
                for outlet in outlets:
                    self._check_open(outlet.pdu)
                self._lanes.enter(request)
                break
        if self.config.daemon.fsync == "all":
            self._sync_accepted(request)
        log.debug("%s, delay %g s, accepted from %s", request, delay, client)
        return request

    def seat(self) -> Seat:
        """Return the place of a client that is going to wait: a context, in which it takes room at PDUs."""
        return Seat(self._seats)

    def wait(self, request: Request, seconds: float) -> bool:
        """Wait for the end of a request, in a seat. Return True: it is done.

        Raises: why it failed; NotDone if it has not ended by then, and goes on.
        """
        if not request.settled.is_set():
            request.settled.wait(seconds)
        problem = self._answers.became(request, seconds)
        if problem is not None:
            raise problem
        return True

    def status(self, outlet: Outlet, seconds: float | None = None) -> Reading:
        """Ask the device for the state of an outlet, for at most ``seconds`` (default: the PDU's ``timeout``).

        A state that cannot be read is what the outlet was last told to be. Raises: Busy, DeviceError, StoreError.
        """
        patience = self._configured(outlet).options.timeout if seconds is None else seconds
        for _, answer in self.gather([outlet], patience):
            if isinstance(answer, Reading):
                return answer
            if answer is not None:
                raise answer
        raise DeviceTimeout(f"{outlet.pdu}: no answer within {patience:g} s")

    def look(self, target: Target, seconds: float | None = None) -> Reading:
        """Ask for the state of a target, as `status` does; that of a node is put together from its feeds.

        Raises also if no feed is on and one of them did not tell.
        """
        if len(target.outlets) == 1:
            return self.status(target.outlets[0], seconds)
        patience = max(self._configured(outlet).options.timeout for outlet in target.outlets)
        patience = patience if seconds is None else seconds
        answers = dict(self.gather(target.outlets, patience))
        late = DeviceTimeout(f"no answer within {patience:g} s")
        return together([(outlet, answers.get(outlet) or late) for outlet in target.outlets])

    def gather(
        self, wanted: Collection[Request | Outlet], seconds: float, seat: Seat | None = None
    ) -> Iterator[tuple[Request | Outlet, Reading | PDUDaemonError | None]]:
        """Yield the state of each outlet and what became of each request, as they come in: see `Answers.gather`."""
        with seat or self.seat() as taken:
            yield from self._answers.gather(wanted, seconds, taken)

    def so_far(self, request: Request, seconds: float) -> PDUDaemonError | None:
        """Return what is known of a request that was waited for so long; None: it is done."""
        return self._answers.became(request, seconds)

    def _asked(self, outlet: Outlet, refusal: Busy | None) -> Query:
        """Return the question for the state of an outlet; a refusal is an answer as well. Takes the lock."""
        try:
            with self._lock:
                if not self._configured(outlet).readable:
                    told = self._store.last_told(outlet)
                    answer = Reading(told[0], "commanded", told[1]) if told else Reading(State.UNKNOWN, "none", None)
                    return Query(outlet, answer)
                if refusal is not None:
                    return Query(outlet, refusal)
                self._check_alive(outlet.pdu, DeviceTimeout)
                return self._queries.ask(outlet)
        except PDUDaemonError as error:
            return Query(outlet, error)

    def cancel(self, number: int, half: str = "") -> None:
        """End a request that has not started; the on that makes good an off of ours only if ``half`` is ``on``.

        Raises: NoSuchRequest, Conflict, StoreError.
        """
        with self._lock:
            request = self._lanes.find(number)
            if request is None:
                state = self._store.record(number)["state"]
                raise Conflict(f"request {number} cannot be cancelled: it is {state}")
            try:
                self._lanes.cancel(request, half)
            finally:
                self._came_home.notify_all()

    def _sync_accepted(self, request: Request) -> None:
        """Put a new request on the disk. Raises: StoreError; it has been ended then, unless it has begun."""
        try:
            self._store.sync()
        except StoreError as error:
            with self._lock:
                if request.started is None and request.ended is None:
                    self._lanes.forget(request, error)
                    raise
            log.error("%s: %s", request, error)

    def hurry(self, request: Request) -> None:
        """Let the on half of a reboot under way follow at once."""
        with self._lock:
            self._lanes.hurry(request)

    def record(self, number: int) -> dict[str, Any]:
        """Return one request as a record. Raises: NoSuchRequest, StoreError."""
        with self._lock:
            return self._lanes.described(self._store.record(number))

    def records(self, most: int) -> list[dict[str, Any]]:
        """Return the newest requests as records, newest first. Raises: StoreError."""
        with self._lock:
            rows = self._store.rows(most)
            live = [self._lanes.described({"id": row["id"]}) for row in rows]
        return [record_of(row) | more for row, more in zip(rows, live, strict=True)]

    def snapshot(self) -> list[dict[str, Any]]:
        """Return one record for each configured PDU, with the number of its requests accepted and not ended."""
        with self._lock:
            return [
                {
                    "name": pdu.name,
                    "driver": pdu.driver_name,
                    "state": self._fleet.state(pdu.name),
                    "reason": pdu.fault or None,
                    "readable": pdu.readable,
                    "requests": self._lanes.load[pdu.name],
                }
                for pdu in self._fleet.pdus.values()
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
        """Accept nothing more, bring home what acts and the owed ons due within ``bound`` seconds, and let go.

        Everything else stays in the store for the next start; ``last_words`` waits for those who still ask it. Return
        the names of the threads that did not come home, and what has yet to be switched on.
        """
        until = time.monotonic() + bound
        with self._lock:
            self._closing = True
            self._queries.refuse(Busy("the daemon is stopping"))
            while (self._leave_off(until) or self._acting) and (left := until - time.monotonic()) > 0:
                self._came_home.wait(left)
            self._closed = True
            for request in self._lanes.live.values():
                request.settle(None)  # also of what acts beyond the bound
            owed = self._lanes.owed()
            for line in owed:
                log.warning("%s", line)
            self._came_home.notify_all()
            self._timetable.stop()
        killed = command.kill_all()
        if killed:
            log.warning("%d commands were still running and have been killed", killed)
        workers: list[Timetable | PDURunner] = [self._timetable, *self._fleet.runners.values()]
        for runner in self._fleet.runners.values():
            runner.stop()
        until = time.monotonic() + LEAVE_GRACE
        absent = [str(worker) for worker in workers if not worker.join(max(0.0, until - time.monotonic()))]
        for box in self._fleet.boxes.values():
            if not box.lock.locked():
                box.close()
        last_words()
        with self._lock:
            self._lanes.write_behind()
            self._store.close()
        return absent, owed

    def _configured(self, outlet: Outlet) -> PDUConfig:
        """Return the PDU of an outlet, with or without the lock. Raises: Busy if a reload took it away meanwhile."""
        try:
            return self.config.pdus[outlet.pdu]
        except KeyError:
            raise Busy(f"{outlet.pdu} is not configured any more") from None

    # From here on the lock is held, except where a method takes it itself.

    def _check_alive(self, name: str, kind: type[Busy] | type[DeviceTimeout]) -> None:
        if self._closing:
            raise Busy("the daemon is stopping")
        if name not in self._fleet.runners:
            raise Busy(f"{name} is not configured any more")
        stuck = self._fleet.runners[name].box.stuck
        if stuck:
            raise kind(f"{name}: stuck: an action of {stuck} has not come back from the device")

    def _leave_off(self, until: float) -> bool:
        """Tell all who wait for what will not happen before ``until``; return whether anything else still will."""
        awaited = self._lanes.leave_off(until)
        self._came_home.notify_all()
        return awaited

    def _check_open(self, name: str) -> None:
        self._check_alive(name, Busy)
        if self._lanes.load[name] >= self.config.daemon.max_queue:
            raise Busy(f"{name}: its queue is full: {self._lanes.load[name]} requests")
        left = self._fleet.runners[name].waiting - self._queries.queued[name]
        if left >= self.config.daemon.max_queue:  # of requests that have been cancelled since
            raise Busy(f"{name}: its queue is full: {left} steps, and the device does not get on")

    def _send(self, job: Step | Query) -> None:
        runner = self._fleet.runners[job.outlet.pdu]
        runner.put(job)
        self._see_started(runner)

    def _see_started(self, runner: PDURunner) -> None:
        """Start a worker's thread, now or as soon as the machine has one for us."""
        if not runner.start():
            self._timetable.at(time.monotonic() + THREAD_PAUSE, lambda: self._see_started(runner))

    def _begin(self, runner: PDURunner, job: Step | Query) -> bool:
        """Say whether a job is still wanted; from then on it acts. Called by the runner, without the lock."""
        with self._lock:
            if isinstance(job, Query):
                wanted = self._queries.begin(job) and not self._closing
            else:
                wanted = not (job.ended or job.running or self._closed or (self._closing and not job.owed))
            if not wanted:
                return False
            self._watch(runner)
            if isinstance(job, Query) or not self._lanes.begin(job):
                return True
        return self._promise(runner, job)

    def _promise(self, runner: PDURunner, step: Step) -> bool:
        """Put on the disk what a step is about to do; return whether it may. Takes the lock itself.

        Each step does so for itself, so that none acts on the word of another that the disk has not taken yet. The disk
        is waited for without the lock: a slow one holds up this PDU alone.
        """
        request = step.request
        indebted = False
        try:
            with self._lock:
                indebted = step.outlet in request.debts
                if step.action is Action.OFF:
                    request.debts.add(step.outlet)
                self._store.progress(request)
            self._store.sync()
        except StoreError as error:
            with self._lock:
                if not indebted:
                    request.debts.discard(step.outlet)
                self._came_back(runner.box)
                self._lanes.refuse(step, error)
                self._fleet.let_go(step.outlet.pdu, self._lanes.load[step.outlet.pdu])
                self._came_home.notify_all()
            return False
        with self._lock:
            step.promised = True
            if step.ended or self._closed:
                step.running = False
                self._came_back(runner.box)
                self._came_home.notify_all()
                return False
            self._watch(runner)
        return True

    def _watch(self, runner: PDURunner) -> None:
        """Have an action, from now on, called stuck if it is not back in time."""
        box = runner.box
        if box in self._acting:
            self._acting[box].cancel()
        due = time.monotonic() + runner.pdu.options.timeout + STUCK_GRACE
        self._acting[box] = self._timetable.at(due, lambda: self._stuck(box))

    def _came_back(self, box: Box) -> None:
        """Note that the action of a box has come back."""
        entry = self._acting.pop(box, None)
        if entry is not None:
            entry.cancel()
        if box.stuck:
            log.warning("%s: the device came back, the PDU is not stuck any more", box.stuck)
            box.stuck = ""

    def _end(self, runner: PDURunner, job: Step | Query, state: State | None, error: DeviceError | None) -> None:
        """Take in what came of a job. Called by the runner, without the lock."""
        with self._lock:
            self._came_back(runner.box)
            if isinstance(job, Query):
                job.tell(error or Reading(state or State.UNKNOWN, "device", self._clock.wall()))
            elif not self._closed:
                self._lanes.attempt_ended(job, error)
                self._fleet.let_go(job.outlet.pdu, self._lanes.load[job.outlet.pdu])
            self._came_home.notify_all()

    def _stuck(self, box: Box) -> None:
        """Tell all who wait for a box that its action has not come back."""
        sharing = self._fleet.sharing(box)
        box.stuck = ", ".join(sorted(sharing))
        log.error("%s: stuck: an action has not come back from the device", box.stuck)
        trouble = DeviceTimeout(f"{box.stuck}: stuck: no answer, and it is not known whether the device acted")
        self._queries.refuse(trouble, sharing)
        self._lanes.tell(sharing, trouble)
        self._came_home.notify_all()
