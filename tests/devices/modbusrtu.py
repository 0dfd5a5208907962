# SPDX-License-Identifier: MIT
"""Relay boards with Modbus RTU behind a real pty; several may be on the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice
from tests.devices.modbustcp import Relays

SIZES = (1, 2, 4, 8, 16, 32)
NAMES = ["modbusrtu", *(f"waveshare-{size}" for size in SIZES)]
ALIKE = NAMES[1:]  # the same but for how many there are
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY]


def crc(frame: bytes) -> bytes:
    """Return the check of a frame, bit by bit as the specification has it."""
    register = 0xFFFF
    for byte in frame:
        register ^= byte
        for _ in range(8):
            lost = register & 1
            register >>= 1
            if lost:
                register ^= 0xA001
    return bytes([register & 0xFF, register >> 8])


class Bus(PtyDevice):
    """A line with one board, of which the mood is, and perhaps others by their unit."""

    def __init__(self, coils: int, mood: Mood = Mood.WELL, unit: int = 1, first: int = 0) -> None:
        super().__init__(mood)
        self.unit = unit
        self.boards = {unit: Relays(coils, mood, first=first)}
        self.outlets = self.boards[unit].outlets
        self._frame = bytearray()

    def heard(self, data: bytes) -> None:
        self._frame += data
        while len(self._frame) >= 8:
            frame = bytes(self._frame[:8])
            del self._frame[:8]
            board = self.boards.get(frame[0])
            if crc(frame[:6]) != frame[6:] or board is None:
                continue
            self.sessions += 1
            board.mood = self.mood
            answer = frame[:1] + board.answer(frame[1:6])
            check = crc(answer)
            self.send(answer + (bytes([check[0] ^ 0x55, check[1]]) if self.mood is Mood.GARBLED else check))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board."""
    relays = int(name.partition("-")[2] or 0)
    with Bus(relays or 8, mood, first=int(relays > 0)) as device:
        settings = {"driver": name, "device": device.path}
        if relays:
            yield Case(
                device,
                "bench",
                settings,
                [*device.outlets],
                ["0", str(relays + 1), "-1", "x"],
            )
        else:
            yield Case(
                device,
                "bench",
                {**settings, "coils": 8},
                [*device.outlets],
                ["65536", "-1", "coil1"],
            )
