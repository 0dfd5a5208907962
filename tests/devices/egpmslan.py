# SPDX-License-Identifier: MIT
"""EnerGenie LAN and WLAN strips: the TCP protocol of port 5000, with its arithmetic, as the facts have it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from pdudaemon.drivers import egpmslan
from tests.devices.base.device import Case, Device, Mood

NAMES = ["egpms"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.WRONG_PASSWORD, Mood.GARBLED, Mood.SLOW, Mood.GONE]

PASSWORD = "strip-pw"

CODES = {
    "2.0": {"on": 0x11, "off": 0x22},
    "2.0, voltage the other way": {"on": 0x12, "off": 0x21},
    "2.1": {"on": 0x41, "off": 0x82},
    "WLAN": {"on": 0x51, "off": 0x92},
}


class Strip(Device):
    """One strip. ``ignores``: how often it takes no notice of a knock, as after a session that was not ended."""

    def __init__(
        self, mood: Mood = Mood.WELL, password: str = PASSWORD, version: str = "2.0", ignores: int = 0
    ) -> None:
        super().__init__(mood)
        self.outlets = dict.fromkeys("1234", "off")
        self.key = (password.encode() + b" " * 8)[:8]
        self.task = b"\x12\x34\x56\x78"
        self.codes = CODES[version]
        self.ignores = ignores
        self.ended = 0
        self.stuck = False  # takes orders and switches nothing
        self.late = False  # hears a second knock before it answers the first
        self.takes = 0.0  # seconds to answer a knock

    def converse(self, connection: socket.socket) -> None:
        while self.receive(connection, 1) != b"\x11" or self.busy():
            pass
        if self.late:
            connection.recv(1, socket.MSG_PEEK)
        self.closing.wait(self.takes)
        self.send(connection, self.task)
        solved = self.receive(connection, 4) == self.solution()
        if self.mood is Mood.WRONG_PASSWORD or not solved:
            while not self.receive(connection).endswith(b"\x11"):
                pass
            self.ended += 1
            return
        self.send(connection, self.states())
        while (data := self.receive(connection, 4)) != b"\x11":
            with self.lock:
                self.control(data)
            self.send(connection, self.states())
        self.ended += 1

    def busy(self) -> bool:
        """Whether this knock is ignored."""
        self.ignores -= 1
        return self.mood is Mood.BUSY or self.ignores >= 0

    def solution(self) -> bytes:
        """Return the right answer to the task."""
        k, t = self.key, self.task
        first = ((t[0] ^ k[2]) * k[0]) ^ (k[4] * 256 + k[6]) ^ t[2]
        second = ((t[1] ^ k[3]) * k[1]) ^ (k[5] * 256 + k[7]) ^ t[3]
        return bytes([first % 256, first // 256 % 256, second % 256, second // 256 % 256])

    def states(self) -> bytes:
        """Return the states as they are sent, socket 4 first."""
        plain = [self.codes[self.outlets[port]] for port in "4321"]
        if self.mood is Mood.GARBLED:
            plain = [0x77] * 4
        k, t = self.key, self.task
        return bytes(((((byte ^ t[2]) + t[3]) ^ k[0]) + k[1]) % 256 for byte in plain)

    def control(self, data: bytes) -> None:
        """Carry out what four bytes say."""
        k, t = self.key, self.task
        for port, byte in zip("4321", data, strict=True):
            order = ((((byte - k[1]) ^ k[0]) - t[3]) ^ t[2]) % 256
            assert order in (0x01, 0x02, 0x04)
            if order != 0x04 and not self.stuck:
                self.outlets[port] = {0x01: "on", 0x02: "off"}[order]


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a strip. That a wrong password is not answered need not be waited for as long as with a real one."""
    patience = 0.3 if mood is Mood.WRONG_PASSWORD else egpmslan.PATIENCE
    with Strip(mood) as device, mock.patch.object(egpmslan, "PATIENCE", patience):
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "password": PASSWORD}
        yield Case(device, "strip", settings, [*device.outlets], ["0", "5", "-1", "all"], [PASSWORD])
