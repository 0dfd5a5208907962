# SPDX-License-Identifier: MIT
"""`PDUDriver`: what every driver is, and the register of the names that the built-in ones answer to.

A driver is used by one thread, its PDU's worker, which makes it, sets ``deadline`` and ``lock_fd`` before each action
and calls `handle`. Our own drivers declare their settings, do no I/O in the constructor, and open and close what they
need around an action.

Classes written for the existing daemon work unchanged. They take (hostname, settings), call ``__init__()`` here
without arguments, may do I/O while being made, define ``accepts`` and ``port_interaction`` (or ``port_on`` and
``port_off``, or ``handle``), perhaps ``_cleanup`` and ``_bombout``, and may raise anything. Rules of ours for ports and
settings are not for them: see `legacy`.

What a class declares is checked when it is defined, so that a mistake does not wait for the first request.
"""

from __future__ import annotations

import importlib
import math
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

# The two names of the existing daemon are imported from here by drivers written for it.
from pdudaemon.errors import (
    DeviceTimeout,
    FailedRequestException,
    PermanentError,
    TransientError,
    UnknownCommandException,
)
from pdudaemon.power import State
from pdudaemon.settings import Options, Setting, boolean, declared, integer, locks, read, seconds, text
from pdudaemon.transports.deadline import Deadline

__all__ = [
    "Attached",
    "FailedRequestException",
    "PDUDriver",
    "PDUOptions",
    "UnknownCommandException",
    "as_state",
    "counted",
    "legacy",
    "numbered",
    "registered",
]

registered: dict[str, type[PDUDriver]] = {}
"""Configuration word -> built-in class, filled as the classes are defined."""

_legacy: set[type[PDUDriver]] = set()

_NEXT_LOOK = 0.3  # seconds between two readings of a state that changes late
_NOT_SETTINGS = ("settings", "deadline", "lock_fd", "models", "usb_ids", "defaults")  # attributes of every driver
_PORT = re.compile(r"[A-Za-z0-9_.:+/][A-Za-z0-9_.:+/-]{0,99}")


def numbered(port: str, most: int, least: int = 1) -> str:
    """Return a canonical port that is a number within bounds. Raises: ValueError, quoting it, if it is none."""
    if not (port.isdecimal() and least <= int(port) <= most):
        raise ValueError(f"{port!r} is not a port: this PDU has {least} to {most}")
    return port


def counted(port: Any, most: int) -> int:
    """Return the number of a port from 1 on, for classes that get it as it was given. Raises: PermanentError."""
    try:
        return int(numbered(str(int(port)), most))
    except ValueError:
        raise PermanentError(f"there is no port {str(port)[:40]!r}: there are 1 to {most}") from None


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
        found = f"{str(said)[:40]!r}" if isinstance(said, str | int) else f"a {type(said).__name__}"
        raise PermanentError(f"the driver has {found} for the state, which is none of {', '.join(State)}") from None


class PDUOptions(Options):
    """What every PDU can be given, whichever driver it has."""

    driver = Setting(text, "", "name of the driver (`pdudaemon --list-drivers`)", required=True)
    retries = Setting(integer(0, 1000), 5, "how often an action is tried in all (0 counts as 1)")
    retrydelay = Setting(seconds(0, 3600), 5.0, "pause between two tries", unit="s")
    timeout = Setting(seconds(0.1, 3600), 60.0, "how long one try may take at the device", unit="s")
    verify = Setting(boolean, False, "read the state back after switching until it is as asked")
    min_interval = Setting(seconds(0, 3600), 0.0, "rest of the device between two actions", unit="s")
    locked = Setting(locks, False, "refuse to switch this PDU: `true`, or a list of some ports of it")
    lock = Setting(text, "", "PDUs with the same word here are one device: never two of them at a time")


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

    usb_ids: ClassVar[tuple[str, ...]] = ()
    """USB devices of the family: ``vendor:product`` in hex digits, or ``vendor:*``. share/ has a udev rule for each."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Values of `PDUOptions` where the family's own are better than the usual ones."""

    hostname: str = ""
    connection: Any = None  # for drivers written for the existing daemon, which read it before they set it
    settings: Mapping[str, Any]
    deadline: Deadline
    lock_fd: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if mistake := _mistake(cls):
            raise TypeError(f"{cls.__name__}: {mistake}")
        for word in _words(cls):
            if word in registered:
                raise TypeError(f"driver {word!r} is defined by both {registered[word].__name__} and {cls.__name__}")
            registered[word] = cls
        if not _declares_ours(cls):
            _legacy.add(cls)

    def __init__(self, hostname: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        if hostname is not None and settings is not None:
            self.hostname = hostname
            self.settings = settings
            self.__dict__.update(read(type(self), settings)[0])

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
    def canonical_port(cls, port: str, settings: Mapping[str, Any]) -> str:
        """Return the one spelling of a port by which its requests are kept in order. Called before acceptance.

        Digits become canonical decimal (``03`` and ``3`` are one outlet). No I/O. A class written for the existing
        daemon decides for itself which ports there are; of those that int() takes, each number is one outlet.

        Raises: ValueError, quoting the port, if the device cannot have it.
        """
        if legacy(cls):
            try:
                return str(int(port))
            except ValueError:
                return port
        if not _PORT.fullmatch(port):
            raise ValueError(f"{port!r} is not a port: letters, digits and _ . : + / - only, not beginning with -")
        return str(int(port)) if port.isdecimal() else port

    @classmethod
    def faults(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with the settings beyond their types, by key. No I/O."""
        return {}

    @classmethod
    def reads_state(cls, settings: Mapping[str, Any]) -> bool:
        """Whether `port_status` can say something with these settings."""
        return cls.port_status is not PDUDriver.port_status

    @classmethod
    def pool(cls, settings: Mapping[str, Any]) -> tuple[str, int] | None:
        """Name the pool of PDUs that this one is in and how many of them may act at a time; None: any number may.

        One that has been at it for some seconds does not count any more: see `pdudaemon.engine.pool`.
        """
        return None

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterable[Attached]:
        """Return the devices of the family that are attached to this machine, for ``pdudaemon --list-devices``."""
        return ()

    @classmethod
    def restarts(cls, settings: Mapping[str, Any]) -> bool:
        """Whether the device's own restart is used for ``reboot``, instead of off, delay and on."""
        return cls.port_reboot is not PDUDriver.port_reboot

    def handle(self, request: str, port_number: Any) -> State | None:
        """Carry out ``on``, ``off``, ``reboot`` or ``status``; ``port_number`` is an int for canonical digits.

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
        else:
            raise UnknownCommandException(f"unknown command {request!r}")
        self._cleanup()
        return state

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

    def confirm(self, port_number: Any, wanted: State, within: float = math.inf) -> None:
        """Read a state back until it is ``wanted``: for ``verify``, and for devices that acknowledge nothing.

        Raises: TransientError if it is not after ``within`` seconds, or the rest of the deadline if that is less.
        """
        found: State | None = None
        until_next_look = threading.Event()
        try:
            limit = Deadline(min(within, self.deadline.remaining()))
            while (found := as_state(self.handle("status", port_number))) is not wanted:
                until_next_look.wait(min(_NEXT_LOOK, limit.remaining()))
        except DeviceTimeout:
            if found is None:
                raise
            raise TransientError(f"port {port_number} is still {found} after {wanted}") from None

    def port_reboot(self, port_number: Any) -> None:
        """Let the device restart the port by itself (a BMC, a cloud). Not redone after a crash of the daemon."""
        raise UnknownCommandException(f"the driver {type(self).__name__} has no 'reboot' of its own")

    def _cleanup(self) -> None:
        """Called after each action that went well; for drivers written for the existing daemon."""

    def _bombout(self) -> None:
        """Called after each action that failed; may raise."""


def legacy(driver: type[PDUDriver]) -> bool:
    """Whether a class was written for the existing daemon: neither it nor a base of it declares anything of ours.

    Ours are ``models``, settings, and `PDUDriver.canonical_port`.
    """
    return driver in _legacy


def _declares_ours(driver: type[PDUDriver]) -> bool:
    return (
        bool(declared(driver))
        or _defines(driver, "canonical_port")
        or any(base in registered.values() for base in driver.__mro__)
    )


def _defines(driver: type[PDUDriver], name: str) -> bool:
    """Whether a class, or a base of it before `PDUDriver`, has something of its own by a name."""
    return any(name in vars(base) for base in driver.__mro__ if base not in (PDUDriver, object))


def _words(driver: type[PDUDriver]) -> Iterable[str]:
    """Return the configuration words that a class brings; an attribute of that name may be a stranger's own."""
    return () if _decides_alone(driver) else vars(driver).get("models", ())


def _decides_alone(driver: type[PDUDriver]) -> bool:
    """Whether a third-party class says what it accepts and nothing else of ours: its attributes are its own."""
    ours = driver.__module__.startswith(f"{__package__}.") or declared(driver) or _defines(driver, "canonical_port")
    return _defines(driver, "accepts") and not ours


def _mistake(driver: type[PDUDriver]) -> str:
    """Return what cannot work of the declarations of a class, in words; empty if nothing."""
    for name in declared(driver):
        if name in declared(PDUOptions):
            return f"the setting {name!r} hides the option of that name, which every PDU has: give it another name"
        if name in _NOT_SETTINGS or any(_acts(vars(base).get(name)) for base in driver.__mro__):
            return f"{name!r} is a setting and would hide what drivers have by that name: give it another name"
    if _decides_alone(driver):
        return ""
    own = vars(driver)
    if "model" in own and "models" not in own and isinstance(own["model"], Mapping):
        return "`model` means nothing; did you mean `models`?"
    if not isinstance(driver.models, Mapping) or not all(isinstance(word, str) and word for word in driver.models):
        return f"`models` is {driver.models!r}; it must be a dict, of each driver name to what is different about it"
    if not isinstance(driver.usb_ids, list | tuple):
        return f"`usb_ids` is {driver.usb_ids!r}; it must be a tuple of texts"
    if not isinstance(driver.defaults, Mapping):
        return f"`defaults` is {driver.defaults!r}; it must be a dict, of options of every PDU to values"
    wrong = read(PDUOptions, {"driver": "any", **driver.defaults})[1]
    wrong |= {name: "is no option of every PDU" for name in driver.defaults if name not in declared(PDUOptions)}
    return "; ".join(f"`defaults`: {name}: {fault}" for name, fault in wrong.items())


def _acts(value: object) -> bool:
    return callable(value) or isinstance(value, classmethod | staticmethod | property)
