# SPDX-License-Identifier: MIT
"""Devantech ETH relay boards: the binary TCP protocol, as the manuals have it. A frame counts only in one piece."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = [
    "devantech_eth002",
    "devantech_eth0621",
    "devantech_eth484",
    "devantech_eth008",
    "devantech_eth8020",
]
ALIKE = ["devantech_eth002", "devantech_eth008", "devantech_eth0621"]  # the same but for how many there are
MOODS = [*Mood]

PASSWORD = "open sesame"
NUMBERS = {"002": 18, "008": 19, "484": 20, "8020": 21, "0621": 23}


class Board(Device):
    """One board; ``contact`` is the one in use, of each relay: NO or NC."""

    def __init__(self, name: str, mood: Mood = Mood.WELL, password: str = PASSWORD, contact: str = "NO") -> None:
        super().__init__(mood)
        self.model = name.removeprefix("devantech_eth")
        self.relays = {"002": 2, "0621": 2, "484": 4, "008": 8, "8020": 20}[self.model]
        self.outlets = {str(number): "off" for number in range(1, self.relays + 1)}
        self.password = password
        self.active_means = "on" if contact == "NO" else "off"
        self.locked = bool(password)

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.BUSY:
            return  # five connections are open already
        while True:
            frame = self.receive(connection)
            if self.mood is Mood.GARBLED:
                if frame[0] == 0x24:
                    return
                self.send(connection, b"\x55")
                continue
            with self.lock:
                answer = self.answer(frame)
            self.send(connection, answer)

    def answer(self, frame: bytes) -> bytes:
        """Act on one frame."""
        if frame == b"\x10":
            return bytes([NUMBERS[self.model], 2, 4])
        if frame[0] == 0x79:
            right = frame[1:] == self.password.encode() and self.mood is not Mood.WRONG_PASSWORD
            self.locked = not right
            return b"\x01" if right else b"\x02"
        if frame == b"\x7a":
            return bytes([0 if self.locked else 30 if self.password else 255])
        if frame == b"\x7b":
            self.locked = bool(self.password)
            return b"\x00"
        if frame == b"\x24":
            return self.states()
        if len(frame) == 3 and frame[0] in (0x20, 0x21) and 1 <= frame[1] <= self.relays and frame[2] == 0:
            if self.locked or self.mood is Mood.REFUSING:
                return b"\x01"
            inactive_means = {"on": "off", "off": "on"}[self.active_means]
            self.outlets[str(frame[1])] = self.active_means if frame[0] == 0x20 else inactive_means
            return b"\x00"
        return b"\x01"

    def states(self) -> bytes:
        """Return the states; boards with other outputs tell those in the bytes after the relays'."""
        bits = "".join("1" if state == self.active_means else "0" for state in self.outlets.values())
        if self.model == "8020":
            return bytes(int(bits[start : start + 8][::-1], 2) for start in (0, 8, 16))
        first = int(bits[::-1], 2)
        return bytes([first]) + {"484": b"\x0f", "0621": b"\x03\x01"}.get(self.model, b"")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board with a password."""
    with Board(name, mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "password": PASSWORD}
        identity = ("Devantech", f"ETH{device.model}", "", "4")
        bad_ports = ["0", str(device.relays + 1), "-1", "all"]
        yield Case(device, "relays", settings, [*device.outlets], bad_ports, [PASSWORD], identity=identity)
