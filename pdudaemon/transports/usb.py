# SPDX-License-Identifier: MIT
"""HID feature reports by USB control transfers, through pyusb and libusb; and the choice among attached devices.

The makers' ids are often shared by many devices, so the right one is found by what it says of itself: `pick` and
`identified` do that for `pdudaemon.transports.hid` as well.

These devices are cheap and some lose transfers, so each is tried several times, as the tools of their makers do. But a
neighbour of the right one, which may hang, is asked but once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol, Self, TypeVar

from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline


class Candidate(Protocol):
    """What `pick` needs of a device: how errors call it, and whether it is waited for and asked again."""

    peer: str
    patient: bool


D = TypeVar("D", bound=Candidate)

ATTEMPTS = 5
RELEASE_SECONDS = 1.0
"""How long a device that another program, or the kernel, still holds is waited for."""
BRIEF_SECONDS = 0.5
"""How long one that may not be ours is waited for: as long as the USB standard lets a device take for an answer."""

_TRANSFER_SECONDS = 1.0
_PAUSE = 0.0005  # before the second try of a transfer, and more before each later one
_NEXT_CLAIM = 0.05
_GET_REPORT, _SET_REPORT = 0x01, 0x09
_IN, _CLASS, _TO_INTERFACE = 0x80, 0x20, 0x01
_FEATURE = 0x0300


class USBDevice:
    """An attached device; open within ``with``. ``peer`` is what errors call it.

    With ``claim`` its one interface is claimed while it is open, and requests go there, else to the device as such.

    Raises, from all that talks to it: DeviceTimeout (no answer), TransientError (pulled out, in use, a fault),
    PermanentError (no access).
    """

    def __init__(self, handle: Any, deadline: Deadline, claim: bool) -> None:
        self.id = _id(handle)
        self.peer = f"USB device {self.id} (bus {handle.bus} device {handle.address})"
        self.patient = True
        self._handle = handle
        self._deadline = deadline
        self._claim = claim

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.__exit__)
            self._handle.default_timeout = int(self._seconds * 1000)  # for what pyusb itself asks for: the product
            with self._translating("opening"):
                self._handle.is_kernel_driver_active(0)  # opens it; a string that cannot be read would not say why
                if self._claim:
                    self._claimed()
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it was pulled out
            _pyusb("usb.util").dispose_resources(self._handle)

    @property
    def product(self) -> str:
        """How the device calls itself; empty if it does not say, or has no language to say it in (ValueError)."""
        try:
            return str(self._handle.product or "")
        except (OSError, ValueError):
            return ""

    def get_report(self, number: int, size: int, step: str) -> bytes:
        """Return a feature report of so many bytes."""
        return bytes(self._transfer(_IN, _GET_REPORT, number, size, size, step))

    def set_report(self, number: int, data: bytes, step: str) -> None:
        """Send a feature report."""
        self._transfer(0, _SET_REPORT, number, data, len(data), step)

    @property
    def _seconds(self) -> float:
        return _TRANSFER_SECONDS if self.patient else BRIEF_SECONDS

    def _transfer(self, direction: int, request: int, number: int, data: bytes | int, size: int, step: str) -> Any:
        kind = direction | _CLASS | (_TO_INTERFACE if self._claim else 0)
        problem: DeviceError | None = None
        for attempt in range(ATTEMPTS if self.patient else 1):
            try:
                with self._translating(step):
                    self._deadline.pause(attempt * _PAUSE)
                    milliseconds = max(1, int(min(self._seconds, self._deadline.remaining()) * 1000))
                    done = self._handle.ctrl_transfer(kind, request, _FEATURE | number, 0, data, milliseconds)
            except TransientError as error:
                problem = error
                continue
            if (done if isinstance(done, int) else len(done)) == size:
                return done
            problem = TransientError(f"{self.peer} broke off at {step}")
        assert problem is not None
        raise problem

    def _claimed(self) -> None:
        give_up = min(time.monotonic() + (RELEASE_SECONDS if self.patient else 0), self._deadline.when)
        while True:
            try:
                if self._handle.is_kernel_driver_active(0):
                    self._handle.detach_kernel_driver(0)
                _pyusb("usb.util").claim_interface(self._handle, 0)
                return
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > give_up:
                    raise
            self._deadline.pause(_NEXT_CLAIM)

    @contextlib.contextmanager
    def _translating(self, step: str) -> Iterator[None]:
        """Raise what libusb raises as an error of ours."""
        try:
            yield
        except (DeviceTimeout, TimeoutError):
            raise DeviceTimeout(f"no answer from {self.peer} at {step}") from None
        except OSError as error:
            if error.errno == errno.ETIMEDOUT:
                raise DeviceTimeout(f"no answer from {self.peer} at {step}") from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise no_access(self.peer) from None
            if error.errno == errno.EBUSY:
                raise TransientError(f"{self.peer} is in use by another program") from None
            if error.errno in (errno.ENODEV, errno.ENOENT):
                raise TransientError(f"{self.peer} was pulled out at {step}") from None
            raise TransientError(f"{self.peer} failed at {step}: {error.strerror or error}") from None


def find(ids: Collection[str], deadline: Deadline, *, claim: bool = False) -> list[USBDevice]:
    """Return the attached devices with one of these ids (``vendor:product``), not yet opened."""
    core = _pyusb("usb.core")
    try:
        handles = list(core.find(find_all=True, custom_match=lambda handle: _id(handle) in ids))
    except core.NoBackendError:
        raise PermanentError("USB devices need the library libusb 1.0 (Debian: libusb-1.0-0)") from None
    except OSError as error:
        raise TransientError(f"cannot look for USB devices: {error.strerror or error}") from None
    return [USBDevice(handle, deadline, claim) for handle in handles]


def identified(devices: Iterable[D], identify: Callable[[D], str | None]) -> Iterator[tuple[str, D]]:
    """Yield (name, device) for the devices of which ``identify`` finds a name; None means one of another kind.

    Raises, when all were seen: why some could not be asked.
    """
    troubles: list[DeviceError] = []
    for device in devices:
        try:
            name = identify(device)
        except DeviceError as error:
            troubles.append(error)
            continue
        if name is not None:
            yield name, device
    if troubles:
        raise type(troubles[0])("; ".join(map(str, troubles)))


def pick(devices: Iterable[D], identify: Callable[[D], str | None], wanted: str, kind: str, last: str = "") -> D:
    """Return the device whose name is wanted, or the only one if no name is.

    The one where the right one was ``last`` (its ``peer``) is asked first. All are asked without patience, lest one
    that hangs delay its neighbours, and with patience only if that did not find the right one.

    Raises: TransientError if there is none such, PermanentError if there are several to choose from.
    """
    candidates = sorted(devices, key=lambda device: device.peer != last)
    for device in candidates:
        device.patient = False
    with contextlib.suppress(DeviceError):
        picked = _picked(candidates, identify, wanted, kind)
        picked.patient = True
        return picked
    for device in candidates:
        device.patient = True
    return _picked(candidates, identify, wanted, kind)


def _picked(devices: Iterable[D], identify: Callable[[D], str | None], wanted: str, kind: str) -> D:
    found: list[tuple[str, D]] = []
    for name, device in identified(devices, identify):
        if name == wanted:
            return device
        found.append((name, device))
    if not wanted and len(found) == 1:
        return found[0][1]
    names = ", ".join(name for name, _ in found)
    if wanted or not found:
        raise TransientError(f"no {kind} {wanted} is attached".replace("  ", " ") + f"; found: {names or 'none'}")
    raise PermanentError(f"the configuration must say which {kind}: {names} are attached")


def no_access(peer: str) -> PermanentError:
    """Return the error for a device whose node in /dev is not ours to use."""
    return PermanentError(
        f"no access to {peer}: 60-pdudaemon.rules must be among udev's rules, and the daemon's user in group pdudaemon"
    )


def denied(node: str) -> bool:
    """Whether a node in /dev is there, but not for us."""
    return os.path.exists(node) and not os.access(node, os.R_OK | os.W_OK)


def _id(handle: Any) -> str:
    return f"{handle.idVendor:04x}:{handle.idProduct:04x}"


def _pyusb(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise PermanentError("USB devices need the Python package pyusb (Debian: python3-usb)") from None
