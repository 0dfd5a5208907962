# SPDX-License-Identifier: MIT
"""Devantech dS relay boards: the binary frames of TCP port 17123. A frame counts only in one piece."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["devantech_ds378", "devantech_ds2824"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]


class Board(Device):
    """One board. Relays up to 32 exist for the protocol; those above the hardware's are virtual."""

    def __init__(self, name: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.relays = {"devantech_ds378": 8, "devantech_ds2824": 24}[name]
        self.outlets = {str(number): "off" for number in range(1, self.relays + 1)}
        self.stuck = False  # acknowledges and switches nothing

    def converse(self, connection: socket.socket) -> None:
        while self.mood is not Mood.BUSY:
            frame = self.receive(connection)
            with self.lock:
                answer = self.answer(frame)
            if self.mood is Mood.GARBLED:
                self.send(connection, answer[:-1])
                return
            self.send(connection, answer)

    def answer(self, frame: bytes) -> bytes:
        """Act on one frame."""
        if frame == b"\x30":
            return bytes([30, 1, 6, 1, 4, 120, 1, 10])
        if len(frame) == 2 and frame[0] == 0x33 and 1 <= frame[1] <= 32:
            numbers = [int(port) for port, state in self.outlets.items() if state == "on"]
            bits = sum(2 ** (number - 1) for number in numbers)
            return bytes([frame[1] in numbers]) + bits.to_bytes(4, "big")
        if len(frame) == 7 and frame[0] == 0x31 and 1 <= frame[1] <= 32 and frame[2] in (0, 1) and not any(frame[3:]):
            if self.mood is Mood.REFUSING:
                return b"\x01"
            if not self.stuck:
                self.outlets[str(frame[1])] = "on" if frame[2] else "off"
            return b"\x00"
        return b"\x01"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board."""
    with Board(name, mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": str(device.port)}
        bad = ["0", str(device.relays + 1), "-1", "all"]
        yield Case(device, "relays", settings, [*device.outlets], bad, identity=("Devantech", "", "", "1.6"))
