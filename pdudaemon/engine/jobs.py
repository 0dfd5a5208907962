# SPDX-License-Identifier: MIT
"""`Jobs`: how a worker does the jobs of its PDU: take the device, ask whether the job is still wanted, have the driver
act, tell what came of it. Nothing is tried again, put off or remembered here.

A job is done in steps, so that it needs no thread where there is nothing to do but wait for a device: see `Doing`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Hashable, Mapping
from typing import Any, Protocol, TypeVar

from pdudaemon.config.model import PDUConfig
from pdudaemon.engine.carrier import Promptness
from pdudaemon.engine.device import Device
from pdudaemon.engine.driving import Driving
from pdudaemon.engine.pool import Place, Pool
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError
from pdudaemon.power import Outlet, State
from pdudaemon.transports.datagrams import Conversation

T = TypeVar("T")

NEVER = threading.Event()  # in place of that of a worker without work

Doing = Generator[Conversation[Any] | None, None, T]
"""What is being done. It yields a conversation, to go on when that has ended, or None before it may wait by itself."""


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
        self._promptness = Promptness()
        self._begin = begin
        self._end = end
        self._last_told = last_told
        self._driving = Driving(pdu, last_told)
        self._changes: list[tuple[PDUConfig, Device, Pool | None]] = []

    def change(self, pdu: PDUConfig, device: Device, pool: Pool | None) -> None:
        """Have the PDU be another from its next action on. Any thread."""
        self._changes.append((pdu, device, pool))

    def _converses(self, job: Job | None) -> bool:
        """Whether a job is, as far as can be seen, nothing but a conversation of one that has a place in a pool."""
        options, converses = self.pdu.options, self.pdu.traits.converses
        alone = converses and self._pool is not None and not (options.verify or options.min_interval)
        return alone and job is not None and not job.lengthy

    def _give_place_back(self) -> None:
        """Have no place any more."""
        place, self._place = self._place, None
        if place is not None and self._pool is not None:
            self._pool.leave(place)

    def _doing(self, job: Job) -> Doing[None]:
        """Do a job."""
        if job.lengthy:
            yield None
        while self._changes:
            yield None
            pdu, device, pool = self._changes.pop(0)
            self._promptness.forget()
            if pool is not self._pool:
                self._give_place_back()
            self.pdu, self.device, self._pool = pdu, device, pool
            self._driving = Driving(pdu, self._last_told)
        if not self.device.lock.acquire(blocking=False):
            self._give_place_back()  # who waits for the device makes no use of it
            yield None
            self.device.lock.acquire()
        try:
            rest = self.device.last_action + self.pdu.options.min_interval - time.monotonic()
            if rest > 0:
                self._give_place_back()
                yield None
                self._stopping.wait(rest)
            if self._pool is None or self._place is not None:
                yield from self._carry_out(job)
            else:
                yield None
                with self._pool.place(job.crowd):
                    yield from self._carry_out(job)
        finally:
            self.device.lock.release()

    def _carry_out(self, job: Job) -> Doing[None]:
        state: State | None = None
        error: DeviceError | None = None
        begun = False
        try:
            # A command that outlived a killed daemon is waited for before the time of this action begins.
            try:
                if not self.device.is_free():
                    yield None
                lock = self.device.take(self.pdu.options.timeout, self._stopping)
            except (DeviceError, OSError, ValueError) as busy:
                lock, error = None, self._driving.as_device_error(busy)
            begun = self._begin(self, job)
            if begun and error is None:
                state = yield from self._act(job, lock)
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

    def _act(self, job: Job, lock: int | None) -> Doing[State | None]:
        """Have the driver act, and note whether the device came back at once. Raises: DeviceError."""
        if isinstance(job, Survey):
            self._driving.read(job, lock)
            return None
        if self._converses(job):
            conversation = self._driving.conversation(job.order, job.outlet, lock, self._stopping)
            yield conversation
            return self._driving.outcome(conversation)
        yield None
        begun = time.monotonic()
        state = self._driving.act(job.order, job.outlet, lock, self._stopping)
        self._promptness.add(time.monotonic() - begun)
        return state


def _without_frames(error: DeviceError) -> DeviceError:
    """Return an error that may be kept on record: with its frames it would keep the driver, and what that holds."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
