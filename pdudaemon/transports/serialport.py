# SPDX-License-Identifier: MIT
"""Serial lines, by path or by any URL that pyserial knows (``rfc2217://``, ``socket://``, ``loop://`` and so on).

A port of this machine is taken for ourselves alone (flock), so that two programs never talk into each other.

Over the network pyserial has limits of its own, whatever is left of the deadline: 5 s for a connection to come about
and 3 s for each thing that ``rfc2217://`` agrees on. ``?ign_set_control`` after such a URL is for a server with no
modem lines to set.

What is attached is read off sysfs, so that it can be told without pyserial.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import importlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from pdudaemon.errors import DeviceError, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.tcp import Stream

_TTYS = Path("/sys/class/tty")
_DEV = Path("/dev")

_SILENCE = 0.02  # seconds, of some twenty characters
_POLL = 0.1  # a read's own time-out: to change that for each read, pyserial would set the whole port up anew


class SerialPort(Stream):
    """A serial line, open within ``with``; 8 bits, no parity, one stop bit, no handshake."""

    def __init__(self, url: str, deadline: Deadline, *, baudrate: int = 9600) -> None:
        super().__init__(url, deadline)
        self._baudrate = baudrate
        self._pyserial: Any = None
        self._port: Any = None

    def __enter__(self) -> Self:
        self._pyserial = _pyserial()
        options = {"baudrate": self._baudrate, "timeout": _POLL, "exclusive": True}
        if not self.peer.lower().startswith("rfc2217://"):  # which cannot have it
            options["write_timeout"] = self._seconds("opening")
        try:
            self._port = self._pyserial.serial_for_url(self.peer, **options)
        except ValueError as error:
            raise PermanentError(f"cannot open {self.peer}: {error}") from None
        except OSError as error:  # as pyserial's own errors are, too
            raise self._not_opened(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it was pulled out
            self._port.close()

    def send(self, data: bytes, step: str) -> None:
        self._seconds(step)
        with self._translating(step):
            try:
                self._port.write(data)
            except self._pyserial.SerialTimeoutException:
                raise self._silent(step) from None

    def receive_answer(self, size: int, step: str) -> bytes:
        """Return an answer of so many bytes, after which a device that means it is silent.

        Raises also: TransientError if it says more: to some, any byte is a state.
        """
        answer = self.receive_exactly(size, step)
        self.deadline.pause(_SILENCE)
        with contextlib.suppress(OSError):  # as where the other side has closed, which is no matter now
            if not self._buffer and self._port.in_waiting:
                self._buffer += self._port.read(1)
        if self._buffer:
            raise TransientError(f"{self.peer} sends more than was asked for at {step}")
        return answer

    def _receive(self, step: str) -> bytes:
        while True:
            self._patience(step)
            with self._translating(step):
                if data := self._port.read(max(1, self._port.in_waiting)):
                    return bytes(data)

    def _not_opened(self, error: OSError) -> DeviceError:
        number = error.errno or getattr(error.__context__, "errno", None)
        if number == errno.EWOULDBLOCK:
            return TransientError(f"{self.peer} is in use by another program")
        why = f"cannot open {self.peer}: {os.strerror(number) if number else error}"
        if number == errno.EACCES:
            return PermanentError(f"{why}; the daemon's user must be in its group (see 60-pdudaemon.rules)")
        return TransientError(why)


class Line(NamedTuple):
    """A serial line of this machine that a USB device brings: its lasting path, and how the device calls itself."""

    path: str
    product: str


def attached(ids: Iterable[str]) -> Iterator[Line]:
    """Yield the serial lines of USB devices with one of these ids: ``vendor:product``, or ``vendor:*`` for all."""
    lasting = {link.resolve(): link for link in sorted((_DEV / "serial" / "by-id").glob("*"))}
    for entry in sorted(_TTYS.glob("*/device")):
        interface = entry.resolve()
        for folder in (interface, *interface.parents):
            if (folder / "idVendor").exists():
                if any(fnmatch.fnmatch(f"{_said(folder, 'idVendor')}:{_said(folder, 'idProduct')}", id) for id in ids):
                    node = _DEV / entry.parent.name
                    yield Line(str(lasting.get(node.resolve(), node)), _said(folder, "product"))
                break


def missing(url: str) -> str | None:
    """Say that there is no such serial line at this machine, empty if there is; None: it is elsewhere."""
    if "://" in url:
        return None
    return "" if os.path.exists(url) else f"there is no serial line {url}"


def plugged_in(path: str) -> float | None:
    """Return when the USB device behind a line was plugged in (seconds since the epoch); None if that is not known."""
    interface = (_TTYS / os.path.basename(os.path.realpath(path)) / "device").resolve()
    for folder in (interface, *interface.parents):
        if (folder / "idVendor").exists():
            told = _said(folder / "power", "connected_duration")  # in milliseconds
            return time.time() - int(told) / 1000 if told.isdecimal() else None
    return None


def _said(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(errors="replace").strip()
    except OSError:  # it has none, or was pulled out just now
        return ""


def _pyserial() -> Any:
    try:
        return importlib.import_module("serial")
    except ImportError:
        raise PermanentError("serial lines need the Python package pyserial (Debian: python3-serial)") from None
