# SPDX-License-Identifier: MIT
"""KMTronic boards behind a real pty: three bytes for all there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

NAMES = ["kmtronic-1", "kmtronic-2", "kmtronic-4", "kmtronic-8"]
ALIKE = NAMES[1:]  # the same but for how many there are
MOODS = [Mood.WELL, Mood.DEAF, Mood.GARBLED, Mood.SLOW, Mood.BUSY]


class Board(PtyDevice):
    """Some relays. ``stuck``: it takes orders and does nothing."""

    def __init__(self, relays: int, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.relays = relays
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.stuck = False
        self._heard = bytearray()

    def heard(self, data: bytes) -> None:
        self._heard += data
        while len(self._heard) >= 3:
            start, relay, what = self._heard[:3]
            del self._heard[:3]
            port = str(relay)
            if start != 0xFF:
                continue
            if (relay, what) == (9, 0) and self.relays >= 4:
                self.sessions += 1
                bits = [int(state == "on") for state in self.outlets.values()]
                self.send(b"\x81" * 8 if self.mood is Mood.GARBLED else bytes([*bits, *[0] * (8 - len(bits))]))
            elif what == 3 and self.relays < 4 and port in self.outlets:
                self.sessions += 1
                state = 0x81 if self.mood is Mood.GARBLED else int(self.outlets[port] == "on")
                self.send(bytes([0xFF, relay, state]))
            elif what in (0, 1) and port in self.outlets and not self.stuck:
                self.outlets[port] = "on" if what else "off"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board."""
    relays = int(name.partition("-")[2])
    with Board(relays, mood) as device:
        settings = {"driver": name, "device": device.path}
        yield Case(device, "bench", settings, [*device.outlets], ["0", str(relays + 1), "-1", "x"])
