# SPDX-License-Identifier: MIT
"""The one place from where the class of a driver is asked something: whatever a plugin raises or returns ends here.

A hook that fails, or returns what it must not, is a `ValueError` in words: a fault of the PDU that has the driver, and
of nothing else. What a class says of a PDU as a whole (`traits`) is asked once, when the configuration is read, so that
nothing of it can fail later, with the dispatcher's lock held.

A hook of ours is a method of an instance with typed settings (`pdudaemon.drivers.declarations.hook`). A plugin may have
a class method in its place, which gets the settings as they stand in the file. A class written for the existing daemon
may have attributes of its own by these names; of these only class methods count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pdudaemon.drivers.driver import Attached, PDUDriver, hook, legacy
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.errors import DeviceError, TransientError, described
from pdudaemon.settings import read
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

T = TypeVar("T")


@dataclass(frozen=True)
class Traits:
    """What a class says of a PDU by its settings, see the methods of `PDUDriver` by these names."""

    reads_state: bool = False
    reads_outlets: bool = False
    stable_names: bool = False
    ports: tuple[str, ...] = ()  # all that there are, as far as that is known without asking the device
    legacy: bool = False  # written for the existing daemon: it gets ports as they were given
    restarts: bool = False
    shuts_down: bool = False
    pool: tuple[str, int] | None = None
    converses: bool = False
    canonical_port: Callable[[str], str] = field(default=str, compare=False)
    """Returns the canonical spelling of a port. Raises: ValueError, in the driver's words if it refuses the port."""


def accepts(driver: type[PDUDriver], name: str) -> bool:
    """Whether a class drives what the configuration calls ``name``. Raises: ValueError."""
    return _asked("accepts", lambda: bool(driver.accepts(name)))


def faults(driver: type[PDUDriver], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with settings, by key: as they are declared, or else beyond that. Raises: ValueError."""

    def checked() -> dict[str, str]:
        if wrong := read(driver, settings)[1]:
            return wrong
        found = _hook(driver, "faults")(settings)
        if not isinstance(found, Mapping) or not all(isinstance(each, str) for pair in found.items() for each in pair):
            raise _wrong(found, "dict of texts")
        return dict(found)

    return _asked("faults", checked)


def traits(driver: type[PDUDriver], settings: Mapping[str, Any]) -> Traits:
    """Return what a class says of a PDU with some settings. Raises: ValueError."""
    options = _asked("configured", lambda: driver.configured(settings))

    def asked(name: str) -> Callable[..., Any]:
        if isinstance(_defined(driver, name), hook):
            return getattr(options, name)  # type: ignore[no-any-return]
        return lambda *arguments: _hook(driver, name)(*arguments, settings)

    def pool() -> tuple[str, int] | None:
        found = asked("pool")()
        if found is None:
            return None
        name, most = found
        if not isinstance(name, str) or not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise _wrong(found, "name and a number from 1 on")
        return str(name), int(most)

    def ports() -> tuple[str, ...]:
        return () if legacy(driver) else tuple(options._ports().every(options) or ())

    reads_state = _asked("reads_state", lambda: bool(asked("reads_state")()))
    reads_outlets = _asked("reads_outlets", lambda: bool(asked("reads_outlets")()))
    return Traits(
        reads_state,
        reads_outlets and (reads_state or driver.read_outlets is not PDUDriver.read_outlets),
        not legacy(driver) and driver.stable_names is True,
        _asked("ports", ports),
        legacy(driver),
        _asked("restarts", lambda: bool(asked("restarts")())),
        _asked("shuts_down", lambda: bool(asked("shuts_down")())),
        _asked("pool", pool),
        _has_conversation(driver) and _asked("converses", lambda: bool(asked("converses")())),
        partial(_canonical_port, asked("canonical_port")),
    )


def _has_conversation(driver: type[PDUDriver]) -> bool:
    return driver.__module__.startswith(f"{__package__}.") and "conversation" in vars(driver)


def _canonical_port(canonical_port: Callable[[str], str], port: str) -> str:
    def spelled() -> str:
        found = canonical_port(port)
        if not isinstance(found, str) or not found:
            raise _wrong(found, "text")
        return found

    return _asked("canonical_port", spelled, meant=(ValueError,))


def attached(driver: type[PDUDriver], deadline: Deadline) -> Iterator[Attached]:
    """Yield the devices of a class that are attached to this machine. Raises: ValueError."""

    def following() -> Attached | None:
        device = next(found, None)
        if device is not None:
            if not (isinstance(device, Attached) and isinstance(device.model, str)):
                raise _wrong(device, "attached device")
            json.dumps(dict(device.settings))
        return device

    found = _asked("attached", lambda: iter(_hook(driver, "attached")(deadline)), meant=(DeviceError,))
    while (device := _asked("attached", following, meant=(DeviceError,))) is not None:
        yield device


def lacks(driver: type[PDUDriver], settings: Mapping[str, Any]) -> str | None:
    """Return what this machine does not have that a PDU acts through, in words; None: nothing. Raises: ValueError."""

    def asked() -> str | None:
        found = _hook(driver, "lacks")(settings)
        if found is not None and not isinstance(found, str):
            raise _wrong(found, "text")
        return found

    return None if legacy(driver) else _asked("lacks", asked)


def in_one_process(call: Callable[[], T]) -> T:
    """Return what a call of a driver's code returns. A child that it forks, and that comes back, ends here.

    It would go on as a second daemon, with our sockets and our store: so does one that has failed to run its program.
    """
    process = os.getpid()
    try:
        return call()
    finally:
        if os.getpid() != process:
            os._exit(1)


def carried_out(method: Callable[[], T]) -> T:
    """Return what a method of a driver returns, outside the engine. Raises: DeviceError, whatever it raises."""
    try:
        return in_one_process(method)
    except DeviceError:
        raise
    except BaseException as error:  # as `_asked`
        raise TransientError(described(error)) from error


def recognises(driver: type[PDUDriver]) -> bool:
    """Whether a class can say of a device that it is one of its own."""
    own = isinstance(_defined(driver, "probe"), classmethod)
    return own and not legacy(driver) and driver.probe.__func__ is not PDUDriver.probe.__func__  # type: ignore[attr-defined]


def recognised(driver: type[PDUDriver], address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
    """Return what a class makes of the device at an address. Raises: ValueError, for what a device must not cause."""

    def probed() -> Recognised | None:
        try:
            found = driver.probe(address, deadline, pages)
        except DeviceError:
            return None
        if found is not None:
            if not isinstance(found, Recognised):
                raise _wrong(found, "device that was recognised")
            json.dumps(dict(found.settings))
        return found

    return _asked("probe", probed)


def _asked(name: str, hook: Callable[[], T], meant: tuple[type[Exception], ...] = ()) -> T:
    """Return what a hook returns. Raises: ValueError, whatever it raises; what is ``meant``, in its own words."""
    try:
        return in_one_process(hook)
    except meant as error:
        raise ValueError(_asked(name, partial(str, error))) from None
    except BaseException as error:  # a plugin's own code: SystemExit and worse must not end the daemon either
        raise ValueError(f"the driver fails at {name}: {described(error)}") from error


def _defined(driver: type[PDUDriver], name: str) -> object:
    """Return what a class, or the base that has it, has by a name, as it was written there."""
    return next(vars(base)[name] for base in driver.__mro__ if name in vars(base))


def _hook(driver: type[PDUDriver], name: str) -> Callable[..., Any]:
    own = isinstance(_defined(driver, name), classmethod | staticmethod)
    if own or not legacy(driver):
        found: Callable[..., Any] = getattr(driver, name)
        return found
    return vars(PDUDriver)[name].__get__(None, driver)  # type: ignore[no-any-return]


def _wrong(found: object, wanted: str) -> TypeError:
    return TypeError(f"it returned something of type {type(found).__name__!r}, not a {wanted}")
