# SPDX-License-Identifier: MIT
"""Korad bench supplies behind a real pty: words without an end, answers of a known length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

NAMES = ["korad", "korad-2"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.GARBLED, Mood.SLOW, Mood.BUSY]
VOLTS, AMPS = ("12.00", "05.00"), ("0.123", "1.500")


class Supply(PtyDevice):
    """A supply whose meters stand still. ``stuck``: its outputs are locked; ``trips``: they draw more than they may."""

    def __init__(self, channels: int = 1, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.channels = channels
        self.outlets = {"1": "off"}
        self.stuck = False
        self.trips = False
        self.typed = ""

    def heard(self, data: bytes) -> None:
        self.typed += data.decode("latin-1")
        while found := re.match(r"(\*IDN\?|STATUS\?|OUT[01]|[VI]OUT[12]\?)", self.typed):
            self.typed = self.typed[found.end() :]
            answer = self.answer(found[1])
            if answer:
                self.send(b"\x81" * len(answer) if self.mood is Mood.GARBLED else answer)

    def answer(self, command: str) -> bytes:
        """Do what is said; most is answered."""
        if command == "*IDN?":
            return b"KORADKA3005PV2.0"
        if command in ("OUT0", "OUT1"):
            if not self.stuck:
                self.outlets["1"] = "on" if command == "OUT1" and not self.trips else "off"
            return b""
        if command == "STATUS?":
            self.sessions += 1
            return bytes([0x11 | 0x40 * (self.outlets["1"] == "on")])
        channel = int(command[4])
        if channel > self.channels:
            return b""
        return (VOLTS if command[0] == "V" else AMPS)[channel - 1].encode()


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a supply."""
    with Supply(2 if name == "korad-2" else 1, mood) as device:
        settings = {"driver": name, "device": device.path}
        one = {"watts": 1.476, "volts": 12.0, "amps": 0.123}
        readings = {"1": one if name == "korad" else {"watts": 8.976}}
        identity = ("Korad", "KA3005P", "", "2.0")
        yield Case(device, "bench", settings, ["1"], ["0", "2", "-1", "x"], readings=readings, identity=identity)
