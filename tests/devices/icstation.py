# SPDX-License-Identifier: MIT
"""ICStation boards behind a real pty: two bytes make a board ready, after which each byte is all of its relays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

SAYS = {2: 0xAD, 4: 0xAB, 8: 0xAC}
NAMES = [f"icstation-{relays}" for relays in SAYS]
ALIKE = NAMES  # the same but for how many there are
MOODS = [Mood.WELL, Mood.DEAF, Mood.SLOW, Mood.BUSY, Mood.REFUSING]


class Board(PtyDevice):
    """Some relays, which a bit that is not set switches on. ``ready``: whether it has been made so since it had power.

    REFUSING: it is a board of another model.
    """

    def __init__(self, relays: int, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.ready = False
        self._asked = False

    def lose_power(self) -> None:
        """Be as a board that was plugged in just now."""
        self.outlets = dict.fromkeys(self.outlets, "off")
        self.ready = self._asked = False

    def heard(self, data: bytes) -> None:
        for byte in data:
            if self.ready:
                self.outlets = {port: "off" if byte >> int(port) - 1 & 1 else "on" for port in self.outlets}
            elif byte == 0x50 and not self._asked:
                self.sessions += 1
                self._asked = True
                self.send(bytes([SAYS[len(self.outlets)] ^ (0x07 if self.mood is Mood.REFUSING else 0)]))
                self._asked = self.mood is not Mood.REFUSING
            elif byte == 0x51 and self._asked:
                self.ready = True


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board."""
    relays = int(name.partition("-")[2])
    with Board(relays, mood) as device:
        settings = {"driver": name, "device": device.path}
        yield Case(device, "bench", settings, [*device.outlets], ["0", str(relays + 1), "-1", "x"])
