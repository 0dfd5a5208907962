# SPDX-License-Identifier: MIT
"""`Jobs`: how a worker does the jobs of its PDU: take the device, ask whether the job is still wanted, have the driver
act, tell what came of it. Nothing is tried again, put off or remembered here.

A job is done in steps, so that it needs no thread where there is nothing to do but wait for a device: see `Doing`. The
driver is made and called by `Driving`.
"""

from __future__ import annotations

import copy
import functools
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Generator, Hashable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from pdudaemon.config.model import PDUConfig
from pdudaemon.drivers.driver import PDUDriver, as_state
from pdudaemon.engine.carrier import Promptness
from pdudaemon.engine.device import Device
from pdudaemon.engine.pool import Place, Pool
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import Action, Outlet, State
from pdudaemon.settings import without
from pdudaemon.transports.datagrams import Conversation
from pdudaemon.transports.deadline import Deadline, begin

log = logging.getLogger("pdud.runner")

T = TypeVar("T")

NEVER = threading.Event()  # in place of that of a worker without work

Doing = Generator[Conversation[Any] | None, None, T]
"""What is being done. It yields a conversation, to go on when that has ended; or None, where who is at it is `unaided`,
before it waits by itself."""


class Job(Protocol):
    """What a worker needs to know of a piece of work."""

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


class Jobs:
    """What a worker is, but for its threads: see `PDURunner`, which says what the arguments are."""

    def __init__(
        self,
        pdu: PDUConfig,
        device: Device,
        pool: Pool | None,
        begin: Callable[[Any, Any], bool],
        end: Callable[[Any, Any, State | None, DeviceError | None], None],
        last_told: Callable[[str], Mapping[str, tuple[State, float]]] | None,
    ) -> None:
        self.pdu = pdu
        self.device = device
        self._pool = pool
        self._place: Place | None = None  # that the thread has, or that it waits for to begin
        self._stopping = NEVER  # ends what a driver waits for by itself
        self.unaided = False  # who is at the job, for many others too, may not wait for anything
        self._promptness = Promptness()
        self._begin = begin
        self._end = end
        self._last_told = last_told
        self._driving = Driving(pdu, last_told)
        self._changes: list[tuple[PDUConfig, Device, Pool | None]] = []

    def change(self, pdu: PDUConfig, device: Device, pool: Pool | None) -> None:
        """Have the PDU be another from its next action on. Any thread."""
        self._changes.append((pdu, device, pool))

    def _give_place_back(self) -> None:
        """Have no place any more."""
        place, self._place = self._place, None
        if place is not None:
            assert self._pool is not None, "it has it of a pool"
            self._pool.leave(place)

    def _doing(self, job: Job) -> Doing[None]:
        """Do a job."""
        if self.unaided and job.lengthy:
            yield None
        while self._changes:
            if self.unaided:
                yield None
            pdu, device, pool = self._changes.pop(0)
            self._promptness.forget()
            if pool is not self._pool:
                self._give_place_back()
            self.pdu, self.device, self._pool = pdu, device, pool
            self._driving = Driving(pdu, self._last_told)
        if not self.device.lock.acquire(blocking=False):
            self._give_place_back()  # who waits for the device makes no use of it
            if self.unaided:
                yield None
            self.device.lock.acquire()
        try:
            rest = self.device.last_action + self.pdu.options.min_interval - time.monotonic()
            if rest > 0:
                self._give_place_back()
                if self.unaided:
                    yield None
                self._stopping.wait(rest)
            if self._pool is None or self._place is not None:
                yield from self._carry_out(job)
            else:
                if self.unaided:
                    yield None
                with self._pool.place(job.crowd):
                    yield from self._carry_out(job)
        finally:
            self.device.lock.release()

    def _carry_out(self, job: Job) -> Doing[None]:
        state: State | None = None
        error: DeviceError | None = None
        try:
            # A command that outlived a killed daemon is waited for before the time of this action begins.
            try:
                if self.unaided and not self.device.is_free():
                    yield None
                lock = self.device.take(self.pdu.options.timeout, self._stopping)
            except (DeviceError, OSError, ValueError) as busy:
                lock, error = None, self._driving.as_device_error(busy)
            begun = self._begin(self, job)
            if begun and error is None:
                try:
                    state = yield from self._act(job, lock)
                except BaseException as raised:  # what drivers raise must not take the thread along
                    error = self._driving.failed(raised)
                    self._promptness.forget()
        except BaseException as fault:  # of ours: the job must end all the same
            begun, error = True, self._driving.as_device_error(fault)
            raise
        finally:
            keep = begun and error is None and self._pool is None and not isinstance(job, Survey)
            self.device.release(keep)
            if begun:
                self._end(self, job, state, error)

    def _act(self, job: Job, lock: int | None) -> Doing[State | None]:
        """Have the driver act, and note whether the device came back at once. Raises: whatever the driver does.

        A child that the driver forks, and that comes back, ends here: see `pdudaemon.drivers.hooks.in_one_process`.
        """
        process = os.getpid()
        try:
            if isinstance(job, Survey):
                self._driving.read(job, lock)
                return None
            if self._driving.converses and not job.lengthy:
                conversation = self._driving.conversation(job.order, job.outlet, lock, self._stopping)
                yield conversation
                return conversation.outcome()
            if self.unaided:
                yield None
            begun = time.monotonic()
            state = self._driving.act(job.order, job.outlet, lock, self._stopping)
            self._promptness.add(time.monotonic() - begun)
            return state
        finally:
            if os.getpid() != process:
                os._exit(1)


class Driving:
    """The driver of a PDU, made when it is first needed, and told what to do, one action at a time.

    A driver may raise anything, and so does what calls it here; `failed` tells it as one of our errors, by its type, in
    one line that names the PDU and shows no secret. ``last_told`` is for drivers that cannot ask: see `PDURunner`.
    ``converses``: a job is, as far as can be seen, nothing but a conversation of one that has a place in a pool.
    """

    def __init__(
        self, pdu: PDUConfig, last_told: Callable[[str], Mapping[str, tuple[State, float]]] | None = None
    ) -> None:
        options, traits = pdu.options, pdu.traits
        self.converses = traits.converses and traits.pool is not None and not (options.verify or options.min_interval)
        self._pdu = pdu
        self._last_told = last_told
        self._driver: PDUDriver | None = None

    def conversation(
        self, order: str, outlet: Outlet, lock: int | None, stopping: threading.Event
    ) -> Conversation[State | None]:
        """Return the conversation that does what `act` does, of a driver that has one."""
        deadline = Deadline(self._pdu.options.timeout, stopping)
        return self._ready(deadline, lock).conversation(order, _as_drivers_take_it(outlet.port))

    def act(self, order: str, outlet: Outlet, lock: int | None, stopping: threading.Event) -> State | None:
        """Have something done, or a state read, which is returned; ``lock`` is the descriptor of the device's file."""
        options = self._pdu.options
        given = outlet.given if self._pdu.traits.legacy else None
        port = _as_drivers_take_it(outlet.port) if given is None else given
        driver = self._ready(Deadline(options.timeout, stopping), lock)
        said = driver.handle(order, port)
        if options.verify and order in (Action.ON, Action.OFF):
            driver.confirm(port, State(order))
        return as_state(said) if order == Action.STATUS else None

    def read(self, survey: Survey, lock: int | None) -> None:
        """Have all outlets read."""
        deadline = survey.deadline(self._pdu.options.timeout)
        survey.read(self._ready(deadline, lock))

    def failed(self, error: BaseException) -> DeviceError:
        """Return what the driver has raised as one of our errors. It may put things right before it is used again."""
        if self._driver is not None:
            try:
                self._driver._bombout()
            except BaseException as another:  # an old driver's clean-up may fail as well; the first error counts
                log.debug("%s: _bombout raised %s", self._pdu.name, type(another).__name__)
        return self.as_device_error(error)

    def _ready(self, deadline: Deadline, lock: int | None) -> PDUDriver:
        begin(deadline)
        driver = self._driver
        if driver is None:
            kind = self._pdu.driver
            assert kind is not None, "a disabled PDU is never given a job"
            settings = copy.deepcopy(dict(self._pdu.settings))  # of its own: it may do with them what it likes
            driver = self._driver = kind(self._pdu.name, settings)
            if self._last_told is not None and not self._pdu.traits.legacy:
                driver.last_told = partial(self._last_told, self._pdu.name)
        driver.deadline = deadline
        driver.lock_fd = lock
        return driver

    def as_device_error(self, error: BaseException) -> DeviceError:
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
        return kind(f"{self._pdu.name}: {text}", private=private)

    def _words(self, error: BaseException) -> tuple[str, str]:
        """Return what an error says, in one line without secrets, and what is for who asked alone."""
        private = ""
        if isinstance(error, DeviceError):
            text, private = str(error), without(self._pdu.secrets, error.private)
        elif isinstance(error, OSError) and error.strerror:
            text = error.strerror
        else:
            trace = without(self._pdu.secrets, "".join(traceback.format_exception(error)))
            log.debug("%s: the driver raised what is no device error\n%s", self._pdu.name, trace.rstrip())
            text = f"{type(error).__name__}: {error}".removesuffix(": ")
        text = " ".join(without(self._pdu.secrets, text).split()) or type(error).__name__
        return _clean(text), _clean(private)


def _clean(text: str) -> str:
    """Return a text without halves of characters, which a device's JSON may hold and no store or socket takes."""
    return text.encode("utf-8", "replace").decode()


@functools.lru_cache(4096)
def _as_drivers_take_it(port: str) -> int | str:
    """Canonical digits as an int, since old drivers do arithmetic on the port; anything else as text."""
    return int(port) if port.isdecimal() and str(int(port)) == port else port
