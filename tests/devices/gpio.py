# SPDX-License-Identifier: MIT
"""A GPIO chip: the kernel's calls for it, by the offsets of its header, on a file that stands for the chip."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from unittest import mock

from tests.devices.base.device import Case, Mood

NAMES = ["gpio"]
MOODS = [Mood.WELL, Mood.REFUSING, Mood.BUSY, Mood.GONE]
LINES = 4
FAULTS = {Mood.REFUSING: errno.EPERM, Mood.BUSY: errno.EBUSY}


class Chip:
    """A chip with some lines. ``outlets`` are the levels, high is on; ``directions`` what each line is."""

    def __init__(self, mood: Mood = Mood.WELL, active_low: bool = False) -> None:
        self.mood = mood
        self.active_low = active_low
        self.outlets = {str(number): "off" for number in range(LINES)}
        self.directions = dict.fromkeys(self.outlets, "input")
        self.received = bytearray()
        self.sessions = 0
        self.stuck = False
        self.held: dict[int, str] = {}  # descriptor of a line -> which
        descriptor, self.path = tempfile.mkstemp(prefix="gpiochip")
        os.close(descriptor)
        self._ioctl = fcntl.ioctl

    def __enter__(self) -> Self:
        self._patch = mock.patch("fcntl.ioctl", self.ioctl)
        self._patch.start()
        if self.mood is Mood.GONE:
            os.unlink(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
        if self.mood is not Mood.GONE:
            os.unlink(self.path)

    def ioctl(self, descriptor: int, number: int, data: Any = 0, *rest: Any) -> Any:
        """Do what the kernel does for a chip and for a line; what is of others, by the kernel."""
        if number == 0x8044B401 and os.readlink(f"/proc/self/fd/{descriptor}") == self.path:
            return 0
        if number in (0xC250B407, 0xC100B405):
            fault = errno.ENOTTY if os.readlink(f"/proc/self/fd/{descriptor}") != self.path else 0
            if fault:
                raise OSError(fault, os.strerror(fault))
            return self.request(data) if number == 0xC250B407 else self.info(data)
        if number in (0xC110B40D, 0xC010B40E):
            self.received += data
            port = self.held[descriptor]
            return self.configure(port, data) if number == 0xC110B40D else self.values(port, data)
        return self._ioctl(descriptor, number, data, *rest)

    def request(self, data: bytearray) -> int:
        """Give a line away, as it is."""
        assert len(data) == 592 and data[560:564] == bytes([1, 0, 0, 0]) and not any(data[568:588])
        self.received += data
        self.sessions += 1
        port = str(int.from_bytes(data[0:4], "little"))
        fault = FAULTS.get(self.mood, 0) or (0 if port in self.outlets else errno.EINVAL)
        if fault:
            raise OSError(fault, os.strerror(fault))
        assert int.from_bytes(data[288:296], "little") == (2 if self.active_low else 0)
        line = os.open(os.devnull, os.O_RDWR)
        self.held[line] = port
        data[588:592] = line.to_bytes(4, "little")
        return 0

    def info(self, data: bytearray) -> int:
        """Say who has a line."""
        assert len(data) == 256
        data[32:64] = b"heartbeat".ljust(32, b"\0") if self.mood is Mood.BUSY else bytes(32)
        return 0

    def configure(self, port: str, data: bytearray) -> int:
        """Make an output of a line, with a value."""
        assert len(data) == 272 and int.from_bytes(data[0:8], "little") == (10 if self.active_low else 8)
        assert [*data[8:12]] == [1, 0, 0, 0] and [*data[32:36]] == [2, 0, 0, 0] and data[48] == 1
        self.directions[port] = "output"
        if not self.stuck:
            self.outlets[port] = "on" if bool(data[40]) != self.active_low else "off"
        return 0

    def values(self, port: str, data: bytearray) -> int:
        """Tell the value of a line."""
        assert len(data) == 16 and data[8] == 1
        data[0] = int((self.outlets[port] == "on") != self.active_low)
        return 0


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a chip."""
    with Chip(mood) as device:
        yield Case(device, "shelf", {"driver": name, "chip": device.path}, [*device.outlets], ["1024", "-1", "GPIO17"])
