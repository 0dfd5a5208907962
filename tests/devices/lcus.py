# SPDX-License-Identifier: MIT
"""LCUS boards behind a real pty: four bytes for an order, lines of text for the states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

NAMES = ["lcus-1", "lcus-2", "lcus-4", "lcus-8"]
ALIKE = NAMES[1:]  # the same but for how many there are
MOODS = [Mood.WELL, Mood.DEAF, Mood.GARBLED, Mood.SLOW, Mood.BUSY]
MOODS_OF = {"lcus-1": [Mood.WELL, Mood.BUSY]}  # which never says anything


class Board(PtyDevice):
    """Some relays. ``tells``: whether its firmware knows the question. ``stuck``: it takes orders and does nothing."""

    def __init__(self, relays: int, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.tells = relays > 1
        self.stuck = False
        self._heard = bytearray()

    def heard(self, data: bytes) -> None:
        self._heard += data
        while self._heard:
            if self._heard[0] == 0xFF:
                del self._heard[0]
                self.sessions += 1
                if self.mood is Mood.GARBLED:
                    self.send(b"\x81\xfe?\r\n")
                elif self.tells:
                    lines = (f"CH{port}: {state.upper()} \r\n" for port, state in self.outlets.items())
                    self.send("".join(lines).encode())
                continue
            if len(self._heard) < 4:
                return
            start, relay, state, check = self._heard[:4]
            del self._heard[:4]
            if (
                start == 0xA0
                and check == (start + relay + state) & 0xFF
                and str(relay) in self.outlets
                and not self.stuck
            ):
                self.outlets[str(relay)] = "on" if state == 1 else "off"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board."""
    relays = int(name.partition("-")[2])
    with Board(relays, mood) as device:
        settings = {"driver": name, "device": device.path}
        yield Case(device, "bench", settings, [*device.outlets], ["0", str(relays + 1), "-1", "x"])
