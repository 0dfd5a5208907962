# SPDX-License-Identifier: MIT
"""Devantech USB relay modules behind a real pty: orders of one byte, as the data sheets have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

RELAYS = {
    "devantech_USB-RLY02": 2,
    "devantech_USB-RLY82": 2,
    "devantech_USB-RLY04": 4,
    "devantech_USB-RLY06": 6,
    "devantech_USB-RLY08B": 8,
    "devantech_USB-RLY16": 8,
    "devantech_USB-RLY16L": 8,
    "devantech_USB-OPTO-RLY88": 8,
    "devantech_USB-OPTO-RLY816": 8,
}
NAMES = [*RELAYS]
ALIKE = NAMES  # the same but for how many there are
MOODS = [Mood.WELL, Mood.DEAF, Mood.SLOW, Mood.BUSY]


class Module(PtyDevice):
    """One module, which has no other answer than the states, its version and the voltage."""

    def __init__(self, name: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, RELAYS[name] + 1)}
        self.stuck = False  # takes orders and switches nothing

    def heard(self, data: bytes) -> None:
        for byte in data:
            self.sessions += 1
            if byte == 0x5A:
                self.send(bytes([8, 1]))
            elif byte == 0x5B:
                states = "".join("1" if state == "on" else "0" for state in self.outlets.values())
                self.send(bytes([int(states[::-1], 2)]))
            elif byte == 0x5D:
                self.send(bytes([120]))
            elif 0x64 <= byte <= 0x76 and not self.stuck:
                self.order("on" if byte < 0x6E else "off", (byte - 0x64) % 10)

    def order(self, action: str, relay: int) -> None:
        """Switch a relay; 0 is all of them."""
        for port in self.outlets:
            if relay in (0, int(port)):
                self.outlets[port] = action


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a module."""
    with Module(name, mood) as device:
        settings = {"driver": name, "device": device.path}
        bad = ["0", str(RELAYS[name] + 1), "-1", "a"]
        yield Case(device, "bench", settings, [*device.outlets], bad, identity=("Devantech", "USB-RLY08", "", "1"))
