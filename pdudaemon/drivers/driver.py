# SPDX-License-Identifier: MIT
"""`PDUDriver`: what every driver is.

A driver is used by one thread, its PDU's worker, which makes it, sets ``deadline`` and ``lock_fd`` before each action
and calls `handle`. Our own drivers declare their settings, do no I/O in the constructor, and open and close what they
need around an action.

Classes written for the existing daemon work unchanged. They take (hostname, settings), call ``__init__()`` here
without arguments, may do I/O while being made, define ``accepts`` and ``port_interaction`` (or ``port_on`` and
``port_off``, or ``handle``), perhaps ``_cleanup`` and ``_bombout``, and may raise anything. Rules of ours for ports and
settings are not for them: see `legacy`.

What a class declares is checked when it is defined: see `pdudaemon.drivers.declarations`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

# Drivers import from here what they need; those written for the existing daemon, the two exceptions of that.
from pdudaemon.drivers.declarations import define, hook, legacy, registered
from pdudaemon.drivers.options import PDUOptions
from pdudaemon.drivers.ports import Named, Numbered, Ports, counted, numbered
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.errors import (
    DeviceTimeout,
    FailedRequestException,
    PermanentError,
    TransientError,
    UnknownCommandException,
)
from pdudaemon.power import State
from pdudaemon.settings import apply
from pdudaemon.transports.datagrams import Conversation
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

__all__ = [
    "Attached",
    "FailedRequestException",
    "Identity",
    "InletReading",
    "Named",
    "Numbered",
    "OutletReading",
    "PDUDriver",
    "PDUOptions",
    "UnknownCommandException",
    "as_state",
    "counted",
    "hook",
    "legacy",
    "numbered",
    "registered",
]

_NEXT_LOOK = 0.3  # seconds between two readings of a state that changes late


def as_state(said: object) -> State:
    """Return the state that a driver's ``port_status`` means: a `State`, a word for one, or a truth; None: unknown.

    Raises: PermanentError for anything else.
    """
    if said is None:
        return State.UNKNOWN
    if isinstance(said, int) and said in (0, 1):
        return State.ON if said else State.OFF
    try:
        return State(said.strip().lower() if isinstance(said, str) else "")
    except ValueError:
        found = f"{str(said)[:40]!r}" if isinstance(said, str | int) else f"a value of type {type(said).__name__}"
        raise PermanentError(f"the driver returned {found} as the state, not one of {', '.join(State)}") from None


@dataclass(frozen=True)
class Attached:
    """A device found on this machine: what its configuration needs, and ``model``, how the device calls itself."""

    settings: Mapping[str, Any]
    model: str


class PDUDriver:
    """Base of all drivers.

    ``models`` maps each configuration word of the family to what differs between them: a row of data of the family's
    own making. Defining a subclass registers the words; a word used twice fails at import.
    """

    models: ClassVar[Mapping[str, Any]] = {}

    ports: ClassVar[Ports] = Ports()
    """Which ports there are; a family for which none of `pdudaemon.drivers.ports` will do defines `canonical_port`."""

    usb_ids: ClassVar[tuple[str, ...]] = ()
    """USB devices of the family: ``vendor:product`` in hex digits, or ``vendor:*``. share/ has a udev rule for each."""

    usb_chips: ClassVar[tuple[str, ...]] = ()
    """Serial converters before devices of the family, and before many other things: their rules are commented out."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Values of `PDUOptions` where the family's own are better than the usual ones."""

    stable_names: ClassVar[bool] = False
    """Whether the names that `read_outlets` tells are unique and stay, so that an outlet may be addressed by it."""

    hostname: str = ""
    connection: Any = None  # for drivers written for the existing daemon, which read it before they set it
    settings: Mapping[str, Any]
    row: Any
    """What ``models`` has for the word in the configuration; a setting of that name is found in its place."""

    deadline: Deadline
    lock_fd: int | None = None
    last_told: Callable[[], Mapping[str, tuple[State, float]]] | None = None
    """Says what each port was last told to be, and when (seconds since the epoch), as far as that is on record.

    For a device that takes one order for all of its outlets and cannot be read. None: there is no record that lasts.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        define(cls)

    def __init__(self, hostname: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        if hostname is not None and settings is not None:
            self.hostname = hostname
            self.settings = settings
            if not legacy(type(self)):
                word = str(settings.get("driver"))
                self.row = self.models.get(word, self.models.get(word.lower()))  # some take theirs in any case
            apply(self, settings)
            self.hostname = self.hostname or hostname  # a setting of that name says otherwise only if it is given

    @classmethod
    def configured(cls, settings: Mapping[str, Any]) -> Self:
        """Return what hooks are asked of: an instance with the settings and the row, whose constructor was not run."""
        asked = object.__new__(cls)
        if not legacy(cls):  # of which even an attribute by our name may be something else
            PDUDriver.__init__(asked, "", settings)
        return asked

    @classmethod
    def select(cls, drivername: str) -> type[PDUDriver]:
        """Return the class that a configuration's ``driver`` names, for old plugins. Raises: ValueError."""
        # Named by a text, since that module imports this one.
        found: type[PDUDriver] = importlib.import_module("pdudaemon.drivers.strategies").find(drivername)
        return found

    @classmethod
    def accepts(cls, drivername: str) -> bool:
        """Whether this class drives what the configuration calls ``drivername``."""
        return drivername in cls.models

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterable[Attached]:
        """Return the devices of the family that are attached to this machine, for ``pdudaemon --list-devices``."""
        return ()

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Return the device of the family that is at an address, None if it is none; for ``pdudaemon --probe``.

        ``address`` is a host, or ``host:port`` where nothing else is to be asked; ``pages`` has what was fetched of its
        web servers already, and fetches more. A device of any maker may be there: it is only looked at, in ways that
        switch nothing, and no login is tried, not even one that the family has by default. Raises: DeviceError, which
        means the same as None.
        """
        return None

    @hook
    def canonical_port(self, port: str) -> str:
        """Return the one spelling of a port by which its requests are kept in order. Called before acceptance.

        Digits become canonical decimal (``03`` and ``3`` are one outlet). No I/O. A class written for the existing
        daemon decides for itself which ports there are; of those that int() takes, each number is one outlet.

        Raises: ValueError, quoting the port, if the device cannot have it.
        """
        if legacy(type(self)):
            try:
                return str(int(port))
            except ValueError:
                return port
        return self._ports().canonical(port, self)

    @hook
    def faults(self) -> dict[str, str]:
        """Return what is wrong with the settings beyond their types, by key. No I/O."""
        return {}

    @hook
    def reads_state(self) -> bool:
        """Whether `port_status` can say something with these settings."""
        return type(self).port_status is not PDUDriver.port_status

    @hook
    def reads_outlets(self) -> bool:
        """Whether `read_outlets` can say something with these settings; the default: if `port_status` can."""
        if type(self).read_outlets is PDUDriver.read_outlets:
            return self._ports().every(self) is not None
        return not legacy(type(self))

    @hook
    def restarts(self) -> bool:
        """Whether the device's own restart is used for ``reboot``, instead of off, delay and on."""
        return type(self).port_reboot is not PDUDriver.port_reboot

    @hook
    def shuts_down(self) -> bool:
        """Whether `port_shutdown` can ask what is behind a port to shut down, with these settings."""
        return type(self).port_shutdown is not PDUDriver.port_shutdown

    @hook
    def pool(self) -> tuple[str, int] | None:
        """Name the pool of PDUs that this one is in and how many of them may act at a time; None: any number may.

        One that has been at it for some seconds does not count any more: see `pdudaemon.engine.pool`.
        """
        return None

    @hook
    def converses(self) -> bool:
        """Whether `conversation` is to be used, with these settings; for our own classes that are in a pool.

        That takes a `conversation` of the very class, since what a derived one changes must not be passed by, and a
        constructor and a `conversation` that wait for nothing, not even for a host's address.
        """
        return False

    @hook
    def lacks(self) -> str | None:
        """Say what this machine does not have that the driver acts through (a program, a broker), empty if it has all.

        Asked by ``pdudaemon --check --online`` alone, hence it may look around. None: it acts through nothing here.
        """
        return None

    def handle(self, request: str, port_number: Any) -> State | None:
        """Carry out ``on``, ``off``, ``reboot``, ``shutdown`` or ``status``; a port of canonical digits is an int.

        For a class written for the existing daemon it is what that would give: an int over TCP, else the text as given.
        Return the state for ``status``, else None. Raises: anything; see `pdudaemon.errors` for what each means.
        """
        state = None
        if request == "on":
            self.port_on(port_number)
        elif request == "off":
            self.port_off(port_number)
        elif request == "status":
            state = self.port_status(port_number)
        elif request == "reboot":
            self.port_reboot(port_number)
        elif request == "shutdown":
            self.port_shutdown(port_number)
        else:
            raise UnknownCommandException(f"unknown command {request!r}")
        self._cleanup()
        return state

    def conversation(self, request: str, port_number: Any) -> Conversation[State | None]:
        """Return a conversation that does what `handle` does, and ends with what that returns: see `converses`."""
        raise NotImplementedError

    def port_interaction(self, command: str, port_number: Any) -> None:
        """Switch a port ``on`` or ``off``; the one method most drivers define."""
        raise UnknownCommandException(f"the driver {type(self).__name__} has no {command!r}")

    def port_on(self, port_number: Any) -> None:
        """Switch a port on; return only when the device has said so."""
        self.port_interaction("on", port_number)

    def port_off(self, port_number: Any) -> None:
        """Switch a port off; return only when the device has said so."""
        self.port_interaction("off", port_number)

    def port_status(self, port_number: Any) -> State:
        """Read the state of a port from the device. Not overridden: the state cannot be read."""
        raise PermanentError("the state cannot be read from this device")

    def read_outlets(self) -> list[OutletReading]:
        """Read all outlets of the device, in one exchange where it allows that. Raises: as `port_interaction`.

        Not overridden: the state of each port that ``ports`` says there is, one by one.
        """
        if (ports := self._ports().every(self)) is None:
            raise PermanentError("this device does not say which outlets it has")
        found = []
        for port in ports:
            self.deadline.pause(0)  # between two exchanges, whoever wants to switch comes first
            found.append(OutletReading(port, state=as_state(self.handle("status", int(port)))))
        return found

    def read_inlets(self) -> list[InletReading]:
        """Read what comes in, whole and in parts. Raises: as `port_interaction`. Empty: the device does not measure."""
        return []

    def identify(self) -> Identity | None:
        """Read who the device is; None: it does not say. Raises: as `port_interaction`."""
        return None

    def confirm(self, port_number: Any, wanted: State, within: float = math.inf) -> None:
        """Read a state back until it is ``wanted``: for ``verify``, and for devices that acknowledge nothing.

        Raises: TransientError if it is not after ``within`` seconds, or the rest of the deadline if that is less.
        """
        found: State | None = None
        try:
            limit = self.deadline.within(within)
            while (found := as_state(self.handle("status", port_number))) is not wanted:
                limit.pause(_NEXT_LOOK)
        except DeviceTimeout:
            if found is None:
                raise
            raise TransientError(f"port {port_number} is still {found} after {wanted}") from None

    def port_reboot(self, port_number: Any) -> None:
        """Let the device restart the port by itself (a BMC, a cloud). Not redone after a crash of the daemon."""
        raise UnknownCommandException(f"the driver {type(self).__name__} has no 'reboot' of its own")

    def port_shutdown(self, port_number: Any) -> None:
        """Ask what is behind the port to go down in order, where the device can; return when the device has said so.

        What hears it may take minutes, or not listen: a look at the state tells.
        """
        raise UnknownCommandException(f"the driver {type(self).__name__} has no 'shutdown'")

    def _ports(self) -> Ports:
        ports = type(self).ports  # of a class written for the existing daemon, whatever it is
        return ports if isinstance(ports, Ports) and not legacy(type(self)) else PDUDriver.ports

    def _cleanup(self) -> None:
        """Called after each action that went well; for drivers written for the existing daemon."""

    def _bombout(self) -> None:
        """Called after each action that failed; may raise."""
