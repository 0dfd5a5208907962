# SPDX-License-Identifier: MIT
"""`PDURunner`: one PDU's worker: one thread, one `queue.Queue`, one driver.

It takes a job, takes the device, asks whether the job is still wanted, lets the driver act and reports. What comes
next is the dispatcher's to decide: nothing is tried again, put off or remembered here.

Thread and queue begin with the first job and end when there has been none for a while, so ten thousand idle PDUs cost
neither. A PDU whose device comes back at once, time and again, shares a thread with others like it: see
`pdudaemon.engine.carrier`. Where a pool bounds how many PDUs act at a time, a thread serves a PDU when there is a
place, until the job is done, and goes on to the PDU that has the place then: so ten thousand PDUs that are to act at
once cost no more threads than there are places. A thread cannot be killed: a driver that never comes back leaves it,
and its device, busy; the dispatcher calls that PDU stuck.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from pdudaemon.config.model import PDUConfig
from pdudaemon.engine import threads
from pdudaemon.engine.carrier import Carrier, Promptness
from pdudaemon.engine.device import KEPT, Device
from pdudaemon.engine.driving import Driving
from pdudaemon.engine.pool import Place, Pool
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError
from pdudaemon.power import Outlet, State

log = logging.getLogger("pdud.runner")

_NEVER = threading.Event()  # in place of that of a worker without work
IDLE = 60.0  # seconds without a job after which the thread ends
AFTER_SURVEY = 0.1  # the same after a survey: who looks at 10,000 PDUs must not leave 10,000 threads


class Job(Protocol):
    """What a runner needs to know of a piece of work."""

    outlet: Outlet

    @property
    def order(self) -> str:
        """What the driver is told to do."""

    @property
    def crowd(self) -> Hashable:
        """What it is one of many of, see `Pool`; None: it is alone."""

    @property
    def lengthy(self) -> bool:
        """Whether it takes time however soon the device comes back."""


class PDURunner:
    """The worker of one PDU.

    ``begin(runner, job)`` is asked once the device is ours, and says whether to act at all; ``end(runner, job, state,
    error)`` is told what came of it, whatever that was, just before the device is given back. Both belong to the
    dispatcher, as does ``pool``, of which there is a place while the driver acts; None: it may do so at any time.
    ``last_told`` says what each port of a PDU was last told to be, and when; None: that is on no record. Without a
    ``carrier`` the worker always has a thread of its own.
    """

    def __init__(
        self,
        pdu: PDUConfig,
        device: Device,
        pool: Pool | None,
        begin: Callable[[PDURunner, Any], bool],
        end: Callable[[PDURunner, Any, State | None, DeviceError | None], None],
        last_told: Callable[[str], Mapping[str, tuple[State, float]]] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self.carried = False  # the thread that acts is the carrier's, which tells what came of it
        self.pdu = pdu
        self.device = device
        self._begin = begin
        self._pool = pool
        self._end = end
        self._last_told = last_told
        self._carrier = carrier
        self._promptness = Promptness()
        self._driving = Driving(pdu, last_told)
        self._place: Place | None = None  # that the thread has, or that it waits for to begin
        self._changes: list[tuple[PDUConfig, Device, Pool | None]] = []
        self._queue: queue.Queue[Job | None] | None = None  # made with the first job, or when a thread serves it,
        self._thread: threading.Thread | None = None
        self._stopping = _NEVER  # as is this
        self._held: list[Job] = []  # in place of a queue, while there is none, by those that wait for a place
        self._stopped = False
        self._starting = threading.Lock()  # keeps the start of a thread and the end of an idle one apart

    def __str__(self) -> str:
        return f"the worker of {self.pdu.name}"

    @property
    def dead(self) -> bool:
        """Whether the thread has ended though nobody told it to."""
        return self._thread is not None and not self._thread.is_alive() and not self._stopped

    def change(self, pdu: PDUConfig, device: Device, pool: Pool | None) -> None:
        """Have the PDU be another from its next action on. Any thread."""
        self._changes.append((pdu, device, pool))

    def put(self, job: Job) -> bool:
        """Hand over a job; it is carried out after those handed over before.

        Return whether there is a thread: if not, `start` must be called again for one.
        """
        with self._starting:
            pool = self._pool
            if self._queue is not None or pool is None:
                self._jobs().put(job)
            else:
                self._held.append(job)
            if self._thread is not None or self._place is not None or self.carried:
                return True
            if pool is not None:
                place = self._wish(job.crowd)
            else:
                self.carried = not job.lengthy and self._at_once
        if pool is not None:
            pool.ask(place)
            return True
        return (self.carried and self._carrier is not None and self._carrier.carry(self)) or self.start()

    def _jobs(self) -> queue.Queue[Job | None]:
        """Return the queue, which is made if there is none; called with ``_starting``."""
        if self._queue is None:
            self._queue, self._stopping = queue.Queue(), threading.Event()
            for job in self._held:
                self._queue.put(job)
            self._held.clear()
            if self._stopped:
                self._stopping.set()
        return self._queue

    @property
    def _at_once(self) -> bool:
        """Whether the worker can do with the carrier's thread."""
        return self._carrier is not None and self._promptness.enough and not self.pdu.options.min_interval

    def _wish(self, crowd: Hashable = None) -> Place:
        """Return the place with which the thread begins, to be asked for if there is a pool."""
        place = Place(self.start, crowd, self._serve)
        if self._pool is not None:
            self._place = place
        return place

    @property
    def waiting(self) -> int:
        """How many jobs wait in the queue, those that are not wanted any more among them."""
        return len(self._held) if self._queue is None else self._queue.qsize()

    def start(self) -> bool:
        """Start the thread unless it runs; return False if there is none to be had now."""
        with self._starting:
            if self._thread is None:
                self._thread = threads.started(self.serve, self._thread_name, self)
                if self._thread is None:
                    return False
            self.carried = False
        return True

    def stop(self) -> None:
        """Let the thread end after the job that it is at; jobs not begun are left to ``begin`` to refuse."""
        with self._starting:
            self._stopped = True
            if self._queue is not None or self._held:
                self._jobs().put(None)
                self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; return whether it did."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _carrier_is_there(self) -> bool:
        return self._carrier is not None and self._carrier.ready()

    # Called by the carrier.

    def turn(self) -> bool:
        """Do one job with the carrier's thread; return whether there is another."""
        jobs = self._queue
        if not self.carried or jobs is None:
            return False
        try:
            job = jobs.queue[0]
            if job is not None and job.lengthy and self.start():
                return False
            jobs.get_nowait()
        except LookupError:
            job = None
        if job is not None:
            self._work_safely(job)
        with self._starting:
            if self.carried:
                self.carried = job is not None and not jobs.empty()
            more = self.carried
        return more and (self._at_once or not self.start())

    def keep(self, thread: threading.Thread) -> None:
        """Have the carrier's thread for good, as the job that it is at takes its time."""
        with self._starting:
            self._thread, self.carried = thread, False
            self._promptness.was_mistaken()
            thread.name = self._thread_name

    def serve(self) -> None:
        """Go on with the thread, which is the worker's own, or the pool's."""
        serve: Callable[[], Any] | None = self._serve
        while serve is not None:
            serve = serve()

    def rest(self) -> bool:
        """Let go of the device's file and of the queue, unless they are in use; return whether that is all."""
        with self._starting:
            if self._thread is not None:
                return True
            if not self.carried and self._queue is not None and self._queue.empty():
                self._queue = None
        return self.device.let_go()

    # Called by whichever thread serves.

    def _serve(self) -> Callable[[], Any] | None:
        """Do what there is to do, with this thread; return what it can do next."""
        thread = threading.current_thread()
        with self._starting:
            jobs = self._jobs()
            if thread is not self._thread:  # it comes from another PDU
                self._thread, thread.name = thread, self._thread_name
        idle = IDLE
        while True:
            if self._at_once and self._carrier_is_there() and self._retired():
                self.device.let_go(at_once=True)
                return None
            try:
                job = jobs.get(timeout=KEPT if self.device.kept else idle)
            except queue.Empty:
                if self.device.kept:
                    self.device.let_go()
                elif self._retired():
                    return None
                continue
            if job is None:
                self._give_place_back()
                return None
            idle = AFTER_SURVEY if isinstance(job, Survey) else IDLE
            self._work_safely(job)
            if self._pool is not None:
                return self._make_room(self._pool)

    @property
    def _thread_name(self) -> str:
        return f"pdu {self.pdu.name}"

    def _retired(self) -> bool:
        """Whether the thread is not needed any more, nor its queue: the next job makes others."""
        with self._starting:
            if self._queue is None or self._queue.empty():
                self._thread, self._queue = None, None
            return self._thread is None

    def _make_room(self, pool: Pool) -> Callable[[], Any] | None:
        """Have no thread any more, and ask for a place for the next job; return what the thread can do now."""
        with self._starting:
            place, self._place = self._place, None
            self._thread = None
            wish = None
            if self._queue is None or self._queue.empty():
                self._queue = None
            else:
                wish = self._wish()
        if place is None:
            if wish is not None:
                pool.ask(wish)
            return None
        following = pool.exchange(place, wish)
        return None if following is None else following.serve

    def _give_place_back(self) -> None:
        place, self._place = self._place, None
        if place is not None and self._pool is not None:
            self._pool.leave(place)

    def _work_safely(self, job: Job) -> None:
        try:
            self._work(job)
        except BaseException:  # a fault of ours must not take the PDU with it
            log.exception("%s: internal error", self)

    def _work(self, job: Job) -> None:
        while self._changes:
            pdu, device, pool = self._changes.pop(0)
            self._promptness.forget()
            if pool is not self._pool:
                self._give_place_back()
            self.pdu, self.device, self._pool = pdu, device, pool
            self._driving = Driving(pdu, self._last_told)
        if not self.device.lock.acquire(blocking=False):
            self._give_place_back()  # who waits for the device makes no use of it
            self.device.lock.acquire()
        try:
            rest = self.device.last_action + self.pdu.options.min_interval - time.monotonic()
            if rest > 0:
                self._give_place_back()
                self._stopping.wait(rest)
            if self._pool is None or self._place is not None:
                self._carry_out(job)
            else:
                with self._pool.place(job.crowd):
                    self._carry_out(job)
        finally:
            self.device.lock.release()

    def _carry_out(self, job: Job) -> None:
        state: State | None = None
        error: DeviceError | None = None
        begun = False
        try:
            # A command that outlived a killed daemon is waited for before the time of this action begins.
            try:
                lock = self.device.take(self.pdu.options.timeout, self._stopping)
            except (DeviceError, OSError, ValueError) as busy:
                lock, error = None, self._driving.as_device_error(busy)
            begun = self._begin(self, job)
            if begun and error is None:
                state = self._act(job, lock)
        except DeviceError as told:
            error = _without_frames(told)
            self._promptness.forget()
        except BaseException as fault:  # of ours: the job must end all the same
            begun, error = True, self._driving.as_device_error(fault)
            raise
        finally:
            keep = begun and error is None and self._pool is None and not isinstance(job, Survey)
            self.device.release(keep)
            if begun:
                self._end(self, job, state, error)

    def _act(self, job: Job, lock: int | None) -> State | None:
        """Have the driver act, and note whether the device came back at once. Raises: DeviceError."""
        if isinstance(job, Survey):
            self._driving.read(job, lock)
            return None
        begun = time.monotonic()
        state = self._driving.act(job.order, job.outlet, lock, self._stopping)
        self._promptness.add(time.monotonic() - begun)
        return state


def _without_frames(error: DeviceError) -> DeviceError:
    """Return an error that may be kept on record: with its frames it would keep the driver, and what that holds."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
