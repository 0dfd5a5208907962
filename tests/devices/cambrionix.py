# SPDX-License-Identifier: MIT
"""A Cambrionix PP15S behind a real pty: echo, answer, prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

NAMES = ["cambrionix"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY]


class Hub(PtyDevice):
    """Fifteen ports. ``modes``: the letter of those that are on."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 16)}
        self.modes = dict.fromkeys(self.outlets, "S")
        self.stuck = False
        self._typed = ""

    def heard(self, data: bytes) -> None:
        self._typed += data.decode("latin-1")
        while "\r\n" in self._typed:
            line, _, self._typed = self._typed.partition("\r\n")
            self.sessions += line == ""
            answer = "\x7e?!" if self.mood is Mood.GARBLED else f"{line}\r\n{self.answer(line)}"
            self.send(f"{answer}\r\n>> ".encode("latin-1"))

    def answer(self, line: str) -> str:
        """Act on a command and return what it is answered."""
        if line == "id":
            return "mfr:cambrionix,mode:main,hw:PP15S,hwid:0x13,fw:1.83,bl:0.12,sn:000000,group:-,fc:un"
        if line == "state":
            return "\r\n".join(
                f"{port}, 0946, A {'O' if state == 'off' else self.modes[port]}, 1, 0, x, 0.10"
                for port, state in self.outlets.items()
            )
        found = re.fullmatch(r"mode (off|s|c|b) (\d+)", line)
        if found and found[2] in self.outlets and self.mood is not Mood.REFUSING:
            if not self.stuck:
                self.outlets[found[2]] = "off" if found[1] == "off" else "on"
                self.modes[found[2]] = found[1].upper()
            return ""
        return "" if not line else "*E400 ERR: Command not permitted"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a hub."""
    with Hub(mood) as device:
        settings = {"driver": name, "device": device.path}
        identity = ("Cambrionix", "PP15S", "000000", "1.83")
        readings = {port: {"amps": 0.946, "watt_hours": 0.1} for port in device.outlets}
        yield Case(
            device, "bench", settings, [*device.outlets], ["0", "33", "-1", "x"], readings=readings, identity=identity
        )
