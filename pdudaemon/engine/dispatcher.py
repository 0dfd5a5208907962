# SPDX-License-Identifier: MIT
"""`Dispatcher`: what the ways in talk to. It owns workers, lanes, timetable and store, under one lock.

A request goes `Acceptance.submit` -> `Lanes.enter` -> the queue of its PDU's worker -> `_begin` -> driver -> `_end` ->
`Lanes.attempt_ended`; whoever waits is called back when the lock is given back.

A thread inside a driver cannot be killed or replaced. Past its deadline and a grace its PDU is *stuck*: who waits is
told, and new requests are refused, until it comes back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.engine import pulse
from pdudaemon.engine.acceptance import Acceptance
from pdudaemon.engine.carrier import Carrier, Leader
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.device import Device
from pdudaemon.engine.events import Events
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.front.sites import Sites
from pdudaemon.engine.interventions import Interventions
from pdudaemon.engine.inventory import Inventory
from pdudaemon.engine.lanes import Lanes, drop
from pdudaemon.engine.pool import Pool
from pdudaemon.engine.queries import Queries, Query
from pdudaemon.engine.records import LiveRecords
from pdudaemon.engine.resumption import Resumption
from pdudaemon.engine.runner import PDURunner
from pdudaemon.engine.softoff import SoftOff
from pdudaemon.engine.stagger import Stagger
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.engine.survey import Survey
from pdudaemon.engine.surveys import Surveys
from pdudaemon.engine.timetable import Timetable
from pdudaemon.engine.waiting import Waiting, became, not_done
from pdudaemon.errors import Busy, Conflict, DeviceError, DeviceTimeout, PDUDaemonError, StoreError
from pdudaemon.power import Action, Reading, Request, Stage, State, Step, Waiter
from pdudaemon.transports import command, datagrams

log = logging.getLogger("pdud.dispatcher")

STUCK_GRACE = 5.0  # seconds past its deadline before an action counts as stuck
WRITE_AGAIN = 5.0  # seconds before trying again to write what the store did not take
LEAVE_GRACE = 1.0  # seconds for threads to end once nothing is awaited from them any more


class Dispatcher:
    """The heart of the daemon. Public methods may be called by any thread and raise `pdudaemon.errors` only."""

    def __init__(self, config: Config, store: Store, locks: Path | None = None, clock: Clock | None = None) -> None:
        """Switch nothing yet. ``locks`` is the folder for the lock files of the devices, None for none.

        `config` becomes one with what the sites have, if there are any.
        """
        self.config = config
        self._clock = clock = clock or Clock()
        self.events = events = Events(clock)
        self._store = store
        self._lock = lock = Waiting(store, self._not_written)
        self._timetable = Timetable(lock)
        told = None if store.path == MEMORY else self._last_told
        self._carrier = carrier = Carrier(self._timetable, lock.lead)

        def runner(pdu: PDUConfig, device: Device, pool: Pool | None) -> PDURunner:
            return PDURunner(pdu, device, pool, self._begin, self._end, self._timetable, told, carrier)

        self._fleet = fleet = Fleet(config.pdus, locks, runner)
        self._stagger = stagger = Stagger(config)
        self._lanes = lanes = Lanes(config.daemon, fleet, store, self._timetable, lock, clock, events, stagger)
        self._softoff = SoftOff(lanes, fleet, store, clock, events)
        self._resumption = Resumption(lanes, fleet, store, clock)
        self.inventory = inventory = Inventory(config, events, clock)
        self.surveys = surveys = Surveys(config, fleet, inventory, lock, self._timetable, clock)
        self._queries = queries = Queries(config, lock, store, fleet, surveys)
        self._interventions = interventions = Interventions(lanes, store, lock)
        self._acceptance = acceptance = Acceptance(
            config, clock, store, lock, lanes, fleet, queries, surveys, interventions
        )
        self.sites = Sites(config, events, inventory, clock, partial(setattr, self, "config"))
        self._acting: set[Device] = set()
        self._came_back = threading.Condition(lock)  # type: ignore[arg-type]  # notified while the daemon stops
        self._closed = False

        # What has a room of its own.
        self.work = carrier.work
        records = LiveRecords(lock, store, lanes, fleet, clock)
        self.submit = acceptance.submit
        self.ask, self.give_up, self.look, self.patience = queries.ask, queries.give_up, queries.look, queries.patience
        self.record, self.records, self.live_figures = records.request, records.requests, records.figures
        self.command, self.snapshot, self.each_pdu = records.command, records.pdus, records.each_pdu
        self.every_pdu = partial(self.sites.every_pdu, records.each_pdu)
        self.pulse = partial(pulse.felt, lock, self._timetable, store, carrier, fleet.runners.values())

    # Called without the lock.

    def start(self) -> None:
        """Take up what the store holds of earlier runs, in the order of acceptance, and begin."""
        with self._lock:
            for request in self._store.live():
                self._resumption.resume(request)
            self.inventory.remember(self._store.all_told())
            self.surveys.change(self.config)
        self._timetable.start()

    def reload(self, config: Config) -> None:
        """Go on with another configuration, which has no faults. Switches nothing.

        A PDU that has changed gets its new driver before its next action; one that is not configured any more ends what
        was accepted, and goes. A request for a port that there is not any more is ended.
        """
        config = config.reusing(self.config)
        with self._acceptance.entering, self._lock.bare:
            self._fleet.change(config.pdus)
            self._acceptance.config = self._queries.config = config
            self._lanes.daemon = config.daemon
            self._stagger.change(config)
            self._store.history, self._store.history_days = config.daemon.history, config.daemon.history_days
            self._resumption.end_impossible()
            self._resumption.resume_kept()
            for name in [*self._fleet.leaving]:
                self._fleet.let_go(name, self._lanes.load[name])
            self.inventory.change(config, self._fleet.state)
            self.surveys.change(config)
        self._lock.lead()
        self.sites.change(config)
        self.events.reload()

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
                self._interventions.cancel(request, half)
            self._came_back.notify_all()
        if request is None:
            raise Conflict(f"request {number} cannot be cancelled: it is {self._store.record(number)['state']}")
        self._store.flush()

    def hurry(self, request: Request) -> None:
        """Let the on half of a reboot under way follow at once."""
        with self._lock:
            self._interventions.hurry(request)

    def led_by(self, leader: Leader | None) -> None:
        """Leave what costs the workers more than him to who has a thread that calls `work` whenever it is woken.

        None: there is nobody any more.
        """
        self._lock.wake = None if leader is None else leader.wake
        self._carrier.leader = leader

    @property
    def store(self) -> tuple[str, bool]:
        """The path of the store, and whether it took the last that there was to write."""
        return self._store.path, not self._lock.refused

    @property
    def stopping(self) -> bool:
        """Whether nothing more is accepted."""
        return self._fleet.closing

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
        with self._acceptance.entering, self._lock.bare:
            self._fleet.closing = True
        absent = self.sites.close()
        with self._lock:
            self._queries.refuse(Busy("the daemon is stopping"))
            self.surveys.refuse(Busy("the daemon is stopping"))
            while self._interventions.leave_off(until) or self.surveys.others(self._acting):
                if (left := until - time.monotonic()) <= 0:
                    break
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
        self._carrier.leader = None
        workers: list[Timetable | PDURunner] = [self._timetable, *self._fleet.runners.values()]
        for runner in self._fleet.runners.values():
            runner.stop()
        until = time.monotonic() + LEAVE_GRACE
        absent += [str(worker) for worker in workers if not worker.join(max(0.0, until - time.monotonic()))]
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
            self._timetable.at(time.monotonic() + WRITE_AGAIN, self._lock.write_again)

    # Called by the workers, without the lock.

    def _begin(self, runner: PDURunner, job: Step | Query | Survey) -> bool:
        """Say whether a job is still wanted; from then on it acts.

        What its device did before is on record by then: after a crash it must not be done once more behind this.
        """
        with self._lock.bare:
            if isinstance(job, Step):
                wanted = job.stage is Stage.QUEUED and not (self._closed or (self._fleet.closing and not job.owed))
            elif isinstance(job, Query):
                wanted = self._queries.begin(job) and not self._fleet.closing
            else:
                wanted = self.surveys.begin(job, runner.device, runner.waiting)
            if wanted:
                self._acts(runner.device, runner.pdu.options.timeout)
            to_promise = wanted and isinstance(job, Step) and self._lanes.begin(job)
            before = (job.request.id, runner.device.request) if isinstance(job, Step) else ()
            behind = wanted and not self._store.noted.keys().isdisjoint(before)
        if behind:
            self._lock.write()
        if self._lock.pending:
            self._hand_in(runner)
        return self._promise(runner, job) if to_promise and isinstance(job, Step) else wanted

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
                self._has_acted(runner.device)
                self._lanes.refuse(step, error)
                self._let_go(step.outlet.pdu)
            return False
        with self._lock:
            step.promised = True
            if step.ended or self._closed:
                drop(step)
                self._has_acted(runner.device)
                return False
            self._acts(runner.device, runner.pdu.options.timeout)
        return True

    def _hand_in(self, runner: PDURunner) -> None:
        """Have what came of a job written and told: where it is one of many, by who serves the clients, for all."""
        if runner.carried:  # who acts is that thread, and does so next
            return
        if runner.unaided:
            if not datagrams.soon(self._lock.hand_in):
                self._lock.hand_in()
        elif len(self._lanes.live) > 1:
            self._lock.hand_in()
        else:
            self._lock.lead()

    def _last_told(self, name: str) -> dict[str, tuple[State, float]]:
        return self.inventory.last_told(name)

    def _end(
        self, runner: PDURunner, job: Step | Query | Survey, state: State | None, error: DeviceError | None
    ) -> None:
        """Take in what came of a job."""
        if isinstance(job, Survey) and job.found is not None:
            self.inventory.surveyed(job.outlet.pdu, job.known, job.found)
        with self._lock.bare:
            self._has_acted(runner.device)
            if isinstance(job, Survey):
                self.surveys.end(job, runner.device, error)
            else:
                self.inventory.heard(job.outlet, self._fleet.state, state, error)
            if isinstance(job, Query):
                self._queries.answer(job, error or Reading(state or State.UNKNOWN, "device", self._clock.wall()))
            elif isinstance(job, Step) and not self._closed:
                runner.device.request = job.request.id
                if job.order == job.action:
                    self._lanes.attempt_ended(job, error)
                    self.inventory.told(job.outlet, *job.request.switched[job.outlet])
                else:
                    self._softoff.attempt_ended(job, state, error)
                if self._fleet.leaving:
                    self._let_go(job.outlet.pdu)
        self._hand_in(runner)

    # Called with the lock held.

    def _let_go(self, name: str) -> None:
        """Part with a PDU if it is leaving, and has ended what it had."""
        assert self._lock.bare.locked()
        if name in self._fleet.leaving:
            self._fleet.let_go(name, self._lanes.load[name])

    def _acts(self, device: Device, seconds: float) -> None:
        """Have an action, from now on, called stuck if it is not back in time.

        An entry of the timetable that is there anyway will do: it is looked then whether it is time yet.
        """
        self._acting.add(device)
        device.due = time.monotonic() + seconds + STUCK_GRACE
        if device.due < device.looked_at:
            self._look_later(device)

    def _has_acted(self, device: Device) -> None:
        """Note that the action of a device has come back."""
        assert self._lock.bare.locked()
        self._acting.discard(device)
        if device.stuck:
            log.warning("%s: the device came back, the PDU is not stuck any more", device.stuck)
            device.stuck = ""
            self._tell_state(device, "")
        if self._fleet.closing:
            self._came_back.notify_all()

    def _look_later(self, device: Device) -> None:
        device.looked_at = device.due
        self._timetable.at(device.due, partial(self._look_at, device))

    def _look_at(self, device: Device) -> None:
        device.looked_at = float("inf")
        if device in self._acting and not device.stuck:
            if device.due <= time.monotonic():
                self._stuck(device)
            else:
                self._look_later(device)

    def _stuck(self, device: Device) -> None:
        """Tell all who wait for a device that its action has not come back."""
        sharing = self._fleet.sharing(device)
        device.stuck = ", ".join(sorted(sharing))
        log.error("%s: stuck: an action has not come back from the device", device.stuck)
        for name in sharing:  # each by its own name: who waits for one may not see the others
            trouble = DeviceTimeout(f"{name}: stuck: no answer, and it is not known whether the device acted")
            self._queries.refuse(trouble, [name])
            self.surveys.refuse(trouble, [name])
            self._interventions.tell([name], trouble)
        self._tell_state(device, "an action has not come back from the device")

    def _tell_state(self, device: Device, reason: str) -> None:
        """Publish how the PDUs are that are one device."""
        for name in self._fleet.sharing(device):
            known = self.inventory.pdu(name)
            self.events.pdu(name, self._fleet.state(name), reason, None if known is None else known.reachable)
