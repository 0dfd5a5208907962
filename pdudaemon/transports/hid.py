# SPDX-License-Identifier: MIT
"""USB HID devices that speak in reports, through hidapi.

There are two other Python packages by much the same name: ``hid`` (PyPI), and the older one of Debian's python3-hidapi.

hidapi is not made for threads: to look for devices, to open and to close one is done by one thread at a time. It keeps
the reasons of its failures to itself, so whether we may use a device is read off its node in /dev.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Self

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.usb import BRIEF_SECONDS, RELEASE_SECONDS, denied, identified, no_access, pick

__all__ = ["HIDDevice", "find", "identified", "pick"]

_NEXT_OPEN = 0.1
_SYSFS = Path("/sys/bus/usb/devices")
_turn = threading.Lock()


class HIDDevice:
    """An attached device; open within ``with``. ``peer`` is what errors call it, ``path`` what hidapi does.

    ``release`` is the version of the device. What is done with it is bounded by ``deadline``.

    ``serial`` and ``product`` are what it says of itself, empty if that is nothing or not ours to read.

    Raises, from all that talks to it: DeviceTimeout (no answer), TransientError (pulled out, in use, a fault),
    PermanentError (no access).
    """

    def __init__(self, library: Any, info: dict[str, Any], deadline: Deadline) -> None:
        self.id = f"{info['vendor_id']:04x}:{info['product_id']:04x}"
        self.serial = str(info["serial_number"] or "")
        self.product = str(info["product_string"] or "")
        self.release = int(info["release_number"])
        self.path: bytes = info["path"]
        self.peer = f"HID device {self.id} at {self.path.decode(errors='replace')}"
        self.patient = True
        self.deadline = deadline
        self._library = library
        self._handle: Any = None

    def __enter__(self) -> Self:
        give_up = time.monotonic() + (RELEASE_SECONDS if self.patient else 0)
        while not self._opened():
            if denied(_node(self.path.decode(errors="replace"))):
                raise no_access(self.peer)
            if time.monotonic() > give_up:
                raise TransientError(f"cannot open {self.peer}: it was pulled out, or another program uses it")
            self._seconds("opening")
            self.deadline.pause(_NEXT_OPEN)
        return self

    def __exit__(self, *_: object) -> None:
        with _turn:
            self._handle.close()

    def identify(self) -> str | None:
        """Return the serial number, None if the device has none. Raises: why it cannot be read, if that is why."""
        if not self.serial:
            with self:
                return None
        return self.serial

    def write(self, report: bytes, step: str) -> None:
        """Send a report; its first byte is its number, 0 (which is not sent) where the device has but one."""
        self._seconds(step)
        with self._translating(step):
            if self._handle.write(report) < 0:
                raise OSError

    def read(self, size: int, step: str, within: float) -> bytes:
        """Return the next report. Raises also: DeviceTimeout if none comes within so many seconds."""
        left = min(within, self._seconds(step))
        end = time.monotonic() + left
        over = False
        while True:
            with self._translating(step):
                if report := self._handle.read(size, max(1, int(left * 1000))):  # it may be empty before its time
                    return bytes(report)
            if over:
                raise self.silent(step)
            left = end - time.monotonic()
            over = left <= 0  # then we look once more: what comes behind an empty one may be there already

    def forget(self, size: int, step: str, quiet: float) -> None:
        """Drop the reports that are there already, until none comes for so many seconds."""
        with contextlib.suppress(DeviceTimeout):
            while True:
                self.read(size, step, quiet)

    def reports(self, size: int, step: str, within: float) -> Iterator[bytes]:
        """Yield the reports that come within so many seconds, if any do, and one that has come already."""
        left = within if self.patient else min(within, BRIEF_SECONDS)
        end = time.monotonic() + left
        while True:
            try:
                report = self.read(size, step, left)
            except DeviceTimeout:
                return
            yield report
            if (left := end - time.monotonic()) <= 0:
                return

    def silent(self, step: str) -> DeviceTimeout:
        """Return the error to raise when nothing came that answers."""
        return DeviceTimeout(f"no answer from {self.peer} at {step}")

    def _opened(self) -> bool:
        with _one_at_a_time(self.deadline):
            self._handle = self._library.device()
            try:
                self._handle.open_path(self.path)
            except OSError:  # for whatever reason
                return False
        return True

    def _seconds(self, step: str) -> float:
        try:
            return self.deadline.remaining()
        except DeviceTimeout:
            raise self.silent(step) from None

    @contextlib.contextmanager
    def _translating(self, step: str) -> Iterator[None]:
        try:
            yield
        except OSError:
            raise TransientError(f"{self.peer} failed at {step}, or was pulled out") from None


def find(ids: Collection[str], deadline: Deadline) -> list[HIDDevice]:
    """Return the attached devices with one of these ids (``vendor:product``), not yet opened."""
    library = _hidapi()
    found: dict[bytes, dict[str, Any]] = {}  # one for each path: some versions list a device once for each of its uses
    for each in ids:
        vendor, product = (int(half, 16) for half in each.split(":"))
        with _one_at_a_time(deadline):
            found.update({info["path"]: info for info in library.enumerate(vendor, product)})
    return [HIDDevice(library, info, deadline) for info in found.values()]


@contextlib.contextmanager
def _one_at_a_time(deadline: Deadline) -> Iterator[None]:
    if not _turn.acquire(timeout=deadline.remaining()):
        raise deadline.passed()
    try:
        yield
    finally:
        _turn.release()


def _node(path: str) -> str:
    """Return the node in /dev of what hidapi calls ``/dev/hidraw0``, ``1-1.2:1.0`` or, if old, ``0001:0004:00``."""
    if old := re.fullmatch(r"([0-9a-f]{4}):([0-9a-f]{4}):[0-9a-f]{2}", path):
        return f"/dev/bus/usb/{int(old[1], 16):03}/{int(old[2], 16):03}"
    folder = _SYSFS / path.partition(":")[0]
    if (folder / "busnum").exists():
        bus, device = (int((folder / name).read_text()) for name in ("busnum", "devnum"))
        return f"/dev/bus/usb/{bus:03}/{device:03}"
    return path


def _hidapi() -> Any:
    try:
        library = importlib.import_module("hid")
    except ImportError:
        raise PermanentError("HID devices need the Python package hidapi (Debian: python3-hid)") from None
    if not hasattr(library, "device"):
        raise PermanentError("the installed package hid is not the one that HID devices need: hidapi (python3-hid)")
    return library
