# SPDX-License-Identifier: MIT
"""`PDURunner`: one PDU's worker: one thread, one `queue.Queue`, one driver.

It takes a job, takes the device, asks whether the job is still wanted, lets the driver act and reports. What comes
next is the dispatcher's to decide: nothing is tried again, put off or remembered here.

Thread and queue begin with the first job and end when there has been none for a while, so ten thousand idle PDUs cost
neither. Where a pool bounds how many PDUs act at a time, a thread serves a PDU when there is a place, until the job is
done, and goes on to the PDU that has the place then: so ten thousand PDUs that are to act at once cost no more threads
than there are places. A thread cannot be killed:
a driver that never comes back leaves it, and its device, busy; the dispatcher calls that PDU stuck.
"""

from __future__ import annotations

import copy
import functools
import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, Protocol

from pdudaemon.config.model import PDUConfig
from pdudaemon.drivers.driver import PDUDriver, as_state
from pdudaemon.engine.device import KEPT, Device
from pdudaemon.engine.pool import Place, Pool
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import Action, Outlet, State
from pdudaemon.settings import without
from pdudaemon.transports.deadline import Deadline, begin

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


class PDURunner:
    """The worker of one PDU.

    ``begin(runner, job)`` is asked once the device is ours, and says whether to act at all; ``end(runner, job, state,
    error)`` is told what came of it, whatever that was, just before the device is given back. Both belong to the
    dispatcher, as does ``pool``, of which there is a place while the driver acts; None: it may do so at any time.
    ``last_told`` says what each port of a PDU was last told to be, and when; None: that is on no record.
    """

    def __init__(
        self,
        pdu: PDUConfig,
        device: Device,
        pool: Pool | None,
        begin: Callable[[PDURunner, Any], bool],
        end: Callable[[PDURunner, Any, State | None, DeviceError | None], None],
        last_told: Callable[[str], Mapping[str, tuple[State, float]]] | None = None,
    ) -> None:
        self.pdu = pdu
        self.device = device
        self._begin = begin
        self._pool = pool
        self._end = end
        self._last_told = last_told
        self._driver: PDUDriver | None = None
        self._place: Place | None = None  # that the thread has, or that it waits for to begin
        self._changes: list[tuple[PDUConfig, Device, Pool | None]] = []
        self._queue: queue.Queue[Job | None] | None = None  # made with the first job, as are the next two
        self._thread: threading.Thread | None = None
        self._stopping = _NEVER
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
            if self._queue is None:
                self._queue, self._stopping = queue.Queue(), threading.Event()
                if self._stopped:
                    self._stopping.set()
            self._queue.put(job)
            if self._thread is not None or self._place is not None:
                return True
            pool, place = self._pool, self._wish(job.crowd)
        if pool is None:
            return self.start()
        pool.ask(place)
        return True

    def _wish(self, crowd: Hashable = None) -> Place:
        """Return the place with which the thread begins, to be asked for if there is a pool."""
        place = Place(self.start, crowd, self._serve)
        if self._pool is not None:
            self._place = place
        return place

    @property
    def waiting(self) -> int:
        """How many jobs wait in the queue, those that are not wanted any more among them."""
        return 0 if self._queue is None else self._queue.qsize()

    def start(self) -> bool:
        """Start the thread unless it runs; return False if there is none to be had now."""
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    log.error("%s: %s", self, error)
                    return False
                self._thread = thread
        return True

    def stop(self) -> None:
        """Let the thread end after the job that it is at; jobs not begun are left to ``begin`` to refuse."""
        with self._starting:
            self._stopped = True
            if self._queue is not None:
                self._stopping.set()
                self._queue.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; return whether it did."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        serve: Callable[[], Any] | None = self._serve
        while serve is not None:
            serve = serve()

    def _serve(self) -> Callable[[], Any] | None:
        """Do what there is to do, with this thread; return what it can do next."""
        thread, jobs = threading.current_thread(), self._queue
        assert jobs is not None
        if thread is not self._thread:  # it comes from another PDU
            with self._starting:
                self._thread, thread.name = thread, self._thread_name
        idle = IDLE
        while True:
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
            try:
                self._work(job)
            except BaseException:  # a fault of ours must not take the PDU with it
                log.exception("%s: internal error", self)
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

    def _work(self, job: Job) -> None:
        while self._changes:
            pdu, device, pool = self._changes.pop(0)
            if pool is not self._pool:
                self._give_place_back()
            self.pdu, self.device, self._pool, self._driver = pdu, device, pool, None
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
                lock, error = None, self._as_device_error(busy)
            begun = self._begin(self, job)
            if begun and error is None:
                state = self._act(job, lock)
        except DeviceError as told:
            error = _without_frames(told)
        except BaseException as fault:  # of ours: the job must end all the same
            begun, error = True, self._as_device_error(fault)
            raise
        finally:
            keep = begun and error is None and self._pool is None and not isinstance(job, Survey)
            self.device.release(keep)
            if begun:
                self._end(self, job, state, error)

    def _act(self, job: Job, lock: int | None) -> State | None:
        """Let the driver act. Raises: DeviceError, in one line that names the PDU and shows no secret."""
        survey = job if isinstance(job, Survey) else None
        timeout = self.pdu.options.timeout
        deadline = Deadline(timeout, self._stopping) if survey is None else survey.deadline(timeout)
        begin(deadline)
        kind = self.pdu.driver
        assert kind is not None, "a disabled PDU is never given a job"
        given = job.outlet.given if self.pdu.traits.legacy else None
        port = _as_drivers_take_it(job.outlet.port) if given is None else given
        try:
            if self._driver is None:  # with settings of its own, of which it may do what it likes
                self._driver = kind(self.pdu.name, copy.deepcopy(dict(self.pdu.settings)))
                if self._last_told is not None and not self.pdu.traits.legacy:
                    self._driver.last_told = partial(self._last_told, self.pdu.name)
            self._driver.deadline = deadline
            self._driver.lock_fd = lock
            if survey is not None:
                survey.read(self._driver)
                return None
            order = job.order
            said = self._driver.handle(order, port)
            if self.pdu.options.verify and order in (Action.ON, Action.OFF):
                self._driver.confirm(port, State(order))
            return as_state(said) if order == Action.STATUS else None
        except BaseException as error:  # drivers may raise anything, and what they raise must not take the thread along
            self._bombout()
            raise self._as_device_error(error) from error

    def _bombout(self) -> None:
        if self._driver is None:
            return
        try:
            self._driver._bombout()
        except BaseException as error:  # an old driver's clean-up may fail as well; the first error counts
            log.debug("%s: _bombout raised %s", self.pdu.name, type(error).__name__)

    def _as_device_error(self, error: BaseException) -> DeviceError:
        """Return the error as one of ours, by its type: what a driver did not mean to raise may pass by itself."""
        kind: type[DeviceError] = TransientError
        if isinstance(error, PermanentError):
            kind = PermanentError
        elif isinstance(error, DeviceTimeout | TimeoutError):
            kind = DeviceTimeout
        try:
            text, private = self._words(error)
        except BaseException:  # what it says of itself is a driver's code as well
            text, private = type(error).__name__, ""
        return kind(f"{self.pdu.name}: {text}", private=private)

    def _words(self, error: BaseException) -> tuple[str, str]:
        """Return what an error says, in one line without secrets, and what is for who asked alone."""
        private = ""
        if isinstance(error, DeviceError):
            text, private = str(error), without(self.pdu.secrets, error.private)
        elif isinstance(error, OSError) and error.strerror:
            text = error.strerror
        else:
            trace = without(self.pdu.secrets, "".join(traceback.format_exception(error)))
            log.debug("%s: the driver raised what is no device error\n%s", self.pdu.name, trace.rstrip())
            text = f"{type(error).__name__}: {error}"
        text = " ".join(without(self.pdu.secrets, text).split()) or type(error).__name__
        return _clean(text), _clean(private)


def _without_frames(error: DeviceError) -> DeviceError:
    """Return an error that may be kept on record: with its frames it would keep the driver, and what that holds."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _clean(text: str) -> str:
    """Return a text without halves of characters, which a device's JSON may hold and no store or socket takes."""
    return text.encode("utf-8", "replace").decode()


@functools.lru_cache(4096)
def _as_drivers_take_it(port: str) -> int | str:
    """Canonical digits as an int, since old drivers do arithmetic on the port; anything else as text."""
    return int(port) if port.isdecimal() and str(int(port)) == port else port
