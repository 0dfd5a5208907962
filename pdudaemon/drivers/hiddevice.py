# SPDX-License-Identifier: MIT
"""`HIDDevice`: a HID device as drivers written for the existing daemon open it, over our transport. Not a driver."""

from __future__ import annotations

from typing import Self

from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.transports import hid
from pdudaemon.transports.deadline import current

_ANY = "0000:0000"  # of all that is attached


class HIDDevice:
    """A device that is open, by its path, or by its ids and perhaps its serial number; closed at the end of ``with``.

    Raises: RuntimeError if nothing says which one; else, from all of it, what `pdudaemon.transports.hid` raises.
    """

    def __init__(
        self, vid: int | None = None, pid: int | None = None, serial: str | None = None, path: str | bytes | None = None
    ) -> None:
        if not path and (vid is None or pid is None):
            raise RuntimeError("neither the path nor the ids of a HID device are given")
        self._path = path.encode() if isinstance(path, str) else path
        self._id = _ANY if self._path or vid is None or pid is None else f"{vid:04x}:{pid:04x}"
        self._serial = serial
        self._device: hid.HIDDevice | None = None
        self._opened()

    def __enter__(self) -> Self:
        self._opened()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; what is done with it later opens it again."""
        if self._device is not None:
            device, self._device = self._device, None
            device.__exit__()

    def write(self, data: bytes) -> int:
        """Send a report, whose first byte is its number; return its length."""
        self._opened().write(bytes(data), "writing")
        return len(data)

    def read(self, max_length: int, timeout_ms: int = 0) -> list[int]:
        """Return the bytes of the next report, none if it does not come in time.

        ``timeout_ms`` 0: it is waited for as long as the action may take. Raises: DeviceTimeout when that is over.
        """
        device = self._opened()
        whole = current().remaining()
        within = min(timeout_ms / 1000, whole) if timeout_ms > 0 else whole
        try:
            return [*device.read(max_length, "reading", within)]
        except DeviceTimeout:
            if within == whole:
                raise
            return []

    def _opened(self) -> hid.HIDDevice:
        if self._device is None:
            found = [each for each in hid.find([self._id], current()) if self._is_meant(each)]
            if not found:
                raise TransientError(f"no HID device {self._described()} is attached")
            self._device = found[0].__enter__()
        self._device.deadline = current()
        return self._device

    def _is_meant(self, device: hid.HIDDevice) -> bool:
        if self._path:
            return device.path == self._path
        return self._serial is None or device.serial == self._serial

    def _described(self) -> str:
        if self._path:
            return f"at {self._path.decode(errors='replace')}"
        return self._id + ("" if self._serial is None else f" with the serial number {self._serial}")
