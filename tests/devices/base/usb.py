# SPDX-License-Identifier: MIT
"""The package pyusb 1.2 with devices of ours attached: modules ``usb``, ``usb.core`` and ``usb.util`` as it has them.

Nothing more than what programs use of it, but that in the same shape: what is returned, what is raised with which
codes, what opens a device and what claims its interface.
"""

from __future__ import annotations

import array
import errno
import itertools
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from tests.devices.base.device import Mood

_addresses = itertools.count(3)


class USBError(OSError):
    """As ``usb.core.USBError``."""

    def __init__(self, strerror: str, error_code: int | None = None, errno: int | None = None) -> None:
        super().__init__(errno, strerror)
        self.backend_error_code = error_code


class USBTimeoutError(USBError):
    """As ``usb.core.USBTimeoutError``."""


class NoBackendError(ValueError):
    """As ``usb.core.NoBackendError``."""


def failure(name: str) -> USBError:
    """Return the error that the backend for libusb 1.0 makes of one of libusb's."""
    text, code, number = {
        "IO": ("Input/Output Error", -1, errno.EIO),
        "ACCESS": ("Access denied (insufficient permissions)", -3, errno.EACCES),
        "NO_DEVICE": ("No such device (it may have been disconnected)", -4, errno.ENODEV),
        "BUSY": ("Resource busy", -6, errno.EBUSY),
        "TIMEOUT": ("Operation timed out", -7, errno.ETIMEDOUT),
        "PIPE": ("Pipe error", -9, errno.EPIPE),
    }[name]
    return (USBTimeoutError if name == "TIMEOUT" else USBError)(text, code, number)


class Gadget:
    """A device on the bus. A subclass says in `get_report` and `set_report` what its feature reports do."""

    def __init__(self, vendor: int, product: int, name: str | None = None, mood: Mood = Mood.WELL) -> None:
        self.vendor = vendor
        self.product = product
        self.name = name
        self.mood = mood
        self.outlets: dict[str, str] = {}
        self.received = bytearray()
        self.sessions = 0  # how often it was opened
        self.open: set[int] = set()  # the handles that are
        self.kernel_driver = True
        self.claimed_by: int | None = None  # a handle; 0 another program
        self.refuses = 0  # how often it is not to be had, since another program is about to let it go
        self.fails: list[str] = []  # what the next transfers fail with
        self.recipient = 0  # where reports are to be asked for: 0 the device, 1 its interface
        self.address = next(_addresses)

    def get_report(self, number: int) -> bytes:
        """Return a feature report."""
        raise NotImplementedError

    def set_report(self, number: int, data: bytes) -> None:
        """Act on a feature report."""
        raise NotImplementedError

    def control(self, kind: int, request: int, value: int, index: int, data: bytes | int, timeout: float) -> bytes:
        """Answer a control transfer. Raises: USBError."""
        size = data if isinstance(data, int) else len(data)
        self.received += struct.pack("<BBHHH", kind, request, value, index, size)
        self.received += b"" if isinstance(data, int) else data
        if self.mood is Mood.DEAF:
            threading.Event().wait(timeout)
            raise failure("TIMEOUT")
        if self.mood is Mood.SLOW and not self.fails:
            self.fails = ["", "PIPE", "short", "IO"]  # the first is this one
        trouble = self.fails.pop(0) if self.fails else ""
        if trouble not in ("", "short"):
            raise failure(trouble)
        if (kind & 0x7F, index, value >> 8) != (0x20 | self.recipient, 0, 3):
            raise failure("PIPE")
        if kind & 0x80 and request == 0x01:
            report = self.get_report(value & 0xFF)[:size]
            if self.mood is Mood.GARBLED:
                report = bytes(byte ^ 0x5A for byte in report)
            return report[:2] if trouble == "short" else report
        if not kind & 0x80 and request == 0x09 and isinstance(data, bytes):
            if trouble == "short":
                return data[:1]
            self.set_report(value & 0xFF, data)
            return data
        raise failure("PIPE")


class Scripted(Gadget):
    """Plays the device's side of a conversation of transfers: expects each, set-up and data, to the letter."""

    def __init__(self, vendor: int, product: int, name: str, exchanges: list[tuple[str, str]]) -> None:
        super().__init__(vendor, product, name)
        self.exchanges = [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in exchanges]
        self.played = 0

    def control(self, kind: int, request: int, value: int, index: int, data: bytes | int, timeout: float) -> bytes:
        size, sent = (data, b"") if isinstance(data, int) else (len(data), data)
        asked, said = self.exchanges[self.played]
        if struct.pack("<BBHHH", kind, request, value, index, size) + sent != asked:
            raise failure("PIPE")
        self.played += 1
        return said if isinstance(data, int) else data


class Device:
    """As ``usb.core.Device``: opened by what needs it open."""

    def __init__(self, gadget: Gadget) -> None:
        self._gadget = gadget
        self._opened = False
        self.idVendor = gadget.vendor
        self.idProduct = gadget.product
        self.bus = 1
        self.address = gadget.address

    @property
    def product(self) -> str | None:
        if self._gadget.name is None:
            return None
        try:
            self._open()
        except USBError:
            raise ValueError(
                "The device has no langid (permission issue, no string descriptors supported or device error)"
            ) from None
        return self._gadget.name

    def ctrl_transfer(
        self,
        bmRequestType: int,
        bRequest: int,
        wValue: int = 0,
        wIndex: int = 0,
        data_or_wLength: Any = None,
        timeout: int | None = None,
    ) -> Any:
        assert timeout is not None and timeout > 0, "a transfer without a time-out"
        self._open()
        if bmRequestType & 0x63 == 0x21:
            claim_interface(self, wIndex & 0xFF)
        out = not bmRequestType & 0x80
        data = bytes(data_or_wLength) if out else int(data_or_wLength)
        done = self._gadget.control(bmRequestType, bRequest, wValue, wIndex, data, timeout / 1000)
        return len(done) if out else array.array("B", done)

    def is_kernel_driver_active(self, interface: int) -> bool:
        self._open()
        return self._gadget.kernel_driver

    def detach_kernel_driver(self, interface: int) -> None:
        self._open()
        self._gadget.kernel_driver = False

    def _open(self) -> None:
        if self._gadget.mood is Mood.GONE:
            raise failure("NO_DEVICE")
        if self._gadget.mood is Mood.WRONG_PASSWORD:  # what lets programs in here is the node in /dev
            raise failure("ACCESS")
        if not self._opened:
            self._opened = True
            self._gadget.sessions += 1
            self._gadget.open.add(id(self))


def claim_interface(device: Device, interface: int) -> None:
    """As ``usb.util.claim_interface``."""
    device._open()
    gadget = device._gadget
    if gadget.refuses:
        gadget.refuses -= 1
        raise failure("BUSY")
    if gadget.mood is Mood.BUSY or gadget.kernel_driver or gadget.claimed_by not in (None, id(device)):
        raise failure("BUSY")
    gadget.claimed_by = id(device)


def dispose_resources(device: Device) -> None:
    """As ``usb.util.dispose_resources``."""
    gadget = device._gadget
    if gadget.claimed_by == id(device):
        gadget.claimed_by = None
    gadget.open.discard(id(device))
    device._opened = False


@contextmanager
def attached(*gadgets: Gadget) -> Iterator[None]:
    """Let pyusb be installed, and these devices be attached; in the end, that all were closed is checked."""

    def find(
        find_all: bool = False, backend: Any = None, custom_match: Callable[[Any], bool] | None = None, **args: Any
    ) -> Any:
        devices = [Device(gadget) for gadget in gadgets if gadget.mood is not Mood.GONE]
        fitting = (
            each
            for each in devices
            if all(getattr(each, name) == value for name, value in args.items())
            and (custom_match is None or custom_match(each))
        )
        return fitting if find_all else next(fitting, None)

    package, core, util = (ModuleType(name) for name in ("usb", "usb.core", "usb.util"))
    vars(package).update(core=core, util=util)
    vars(core).update(find=find, USBError=USBError, USBTimeoutError=USBTimeoutError, NoBackendError=NoBackendError)
    vars(util).update(claim_interface=claim_interface, dispose_resources=dispose_resources)
    with mock.patch.dict(sys.modules, {"usb": package, "usb.core": core, "usb.util": util}):
        yield
    assert not any(gadget.open for gadget in gadgets), "a device was left open"
