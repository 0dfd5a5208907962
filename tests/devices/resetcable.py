# SPDX-License-Identifier: MIT
"""A serial port with lines DTR and RTS: the kernel's calls for them, on a real pty, which has none of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from unittest import mock

from tests.devices.base.device import Case, Mood

NAMES = ["reset_cable"]
MOODS = [Mood.WELL, Mood.REFUSING, Mood.BUSY, Mood.GONE]
AFTER_AN_ACTION = True  # only then is there something to read
LINES = {"dtr": 0x002, "rts": 0x004}
READ, RAISE, LOWER, SET = 0x5415, 0x5416, 0x5417, 0x5418
OTHER_LINES = 0x160  # carrier and so on, which are the other side's


class Port:
    """Two boards, each on while its line is low. REFUSING: a port without such lines."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        self.mood = mood
        self.outlets = dict.fromkeys(LINES, "on")
        self.received = bytearray()
        self.sessions = 0
        self.stuck = False
        self.pulled_out = False
        self._known: set[int] = set()
        self._ioctl = fcntl.ioctl

    def __enter__(self) -> Self:
        self._ours, self._its = pty.openpty()
        self.path = os.ttyname(self._its) if self.mood is not Mood.GONE else "/dev/absent"
        if self.mood is Mood.BUSY:
            fcntl.flock(self._its, fcntl.LOCK_EX)
        self._patch = mock.patch("fcntl.ioctl", self.ioctl)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
        os.close(self._ours)
        os.close(self._its)

    def hangs_up(self) -> bool:
        """Whether the kernel would lower the lines when the port is closed."""
        return bool(termios.tcgetattr(self._its)[2] & termios.HUPCL)

    def bits(self) -> int:
        """Return the lines as the kernel has them."""
        return OTHER_LINES | sum(bit for name, bit in LINES.items() if self.outlets[name] == "off")

    def ioctl(self, descriptor: int, number: int, data: Any = 0, *rest: Any) -> Any:
        """Do what the kernel does for a port; what is of others, by the kernel."""
        if number not in (READ, RAISE, LOWER, SET) or not os.path.samestat(os.fstat(descriptor), os.fstat(self._its)):
            return self._ioctl(descriptor, number, data, *rest)
        if self.mood is Mood.REFUSING:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        if self.pulled_out:
            self._known.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if descriptor not in self._known:
            self._known.add(descriptor)
            self.sessions += 1
            self.outlets = dict.fromkeys(LINES, "off")  # to open it has raised both
        if number == READ:
            return struct.pack("i", self.bits())
        self.received += data
        (given,) = struct.unpack("i", data)
        now = {RAISE: self.bits() | given, LOWER: self.bits() & ~given, SET: given}[number]
        if not self.stuck:
            self.outlets = {name: "off" if now & bit else "on" for name, bit in LINES.items()}
        return data


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a port."""
    with Port(mood) as device:
        yield Case(device, "bench", {"driver": name, "device": device.path}, [*device.outlets], ["1", "cts", "dtr1"])
