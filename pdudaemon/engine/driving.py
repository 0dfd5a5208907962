# SPDX-License-Identifier: MIT
"""`Driving`: the driver of a PDU, made when it is first needed, and told what to do, one action at a time.

A driver may raise anything. It is told as one of our errors, by its type, in one line that names the PDU and shows no
secret.
"""

from __future__ import annotations

import copy
import functools
import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from pdudaemon.config.model import PDUConfig
from pdudaemon.drivers.driver import PDUDriver, as_state
from pdudaemon.drivers.hooks import in_one_process
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import Action, Outlet, State
from pdudaemon.settings import without
from pdudaemon.transports.datagrams import Conversation
from pdudaemon.transports.deadline import Deadline, begin

log = logging.getLogger("pdud.runner")

T = TypeVar("T")


class Driving:
    """Used by whichever thread has the device. ``last_told`` is for drivers that cannot ask: see `PDURunner`."""

    def __init__(
        self, pdu: PDUConfig, last_told: Callable[[str], Mapping[str, tuple[State, float]]] | None = None
    ) -> None:
        self._pdu = pdu
        self._last_told = last_told
        self._driver: PDUDriver | None = None

    def conversation(
        self, order: str, outlet: Outlet, lock: int | None, stopping: threading.Event
    ) -> Conversation[State | None]:
        """Return the conversation that does what `act` does, of a driver that has one. Raises: DeviceError."""
        port = _as_drivers_take_it(outlet.port)
        deadline = Deadline(self._pdu.options.timeout, stopping)
        return self._told(lambda: self._ready(deadline, lock).conversation(order, port))

    def outcome(self, conversation: Conversation[T]) -> T:
        """Return what a conversation has ended with. Raises: DeviceError."""
        return self._told(conversation.outcome)

    def act(self, order: str, outlet: Outlet, lock: int | None, stopping: threading.Event) -> State | None:
        """Have something done, or a state read, which is returned; ``lock`` is the descriptor of the device's file.

        Raises: DeviceError.
        """
        options = self._pdu.options
        given = outlet.given if self._pdu.traits.legacy else None
        port = _as_drivers_take_it(outlet.port) if given is None else given

        def act() -> State | None:
            driver = self._ready(Deadline(options.timeout, stopping), lock)
            said = driver.handle(order, port)
            if options.verify and order in (Action.ON, Action.OFF):
                driver.confirm(port, State(order))
            return as_state(said) if order == Action.STATUS else None

        return self._told(act)

    def read(self, survey: Survey, lock: int | None) -> None:
        """Have all outlets read. Raises: DeviceError."""
        deadline = survey.deadline(self._pdu.options.timeout)
        self._told(lambda: survey.read(self._ready(deadline, lock)))

    def _told(self, call: Callable[[], T]) -> T:
        try:
            return in_one_process(call)
        except BaseException as error:  # what drivers raise must not take the thread along
            self._bombout()
            raise self.as_device_error(error) from error

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

    def _bombout(self) -> None:
        if self._driver is None:
            return
        try:
            self._driver._bombout()
        except BaseException as error:  # an old driver's clean-up may fail as well; the first error counts
            log.debug("%s: _bombout raised %s", self._pdu.name, type(error).__name__)

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
            text = f"{type(error).__name__}: {error}"
        text = " ".join(without(self._pdu.secrets, text).split()) or type(error).__name__
        return _clean(text), _clean(private)


def _clean(text: str) -> str:
    """Return a text without halves of characters, which a device's JSON may hold and no store or socket takes."""
    return text.encode("utf-8", "replace").decode()


@functools.lru_cache(4096)
def _as_drivers_take_it(port: str) -> int | str:
    """Canonical digits as an int, since old drivers do arithmetic on the port; anything else as text."""
    return int(port) if port.isdecimal() and str(int(port)) == port else port
