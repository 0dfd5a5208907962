# SPDX-License-Identifier: MIT
"""Numato relay modules: echo, answer, prompt, as Numato's manuals have it; those on USB, behind a real pty."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

NAMES = [f"NumatoUSB{count}" for count in (1, 2, 4, 8, 16, 32, 64)]
ALIKE = NAMES[:5]  # the same but for how many there are
MOODS = [Mood.WELL, Mood.DEAF, Mood.GARBLED, Mood.SLOW, Mood.BUSY]


class Relays:
    """What a module does. Relays have an id from 0: a hexadecimal digit; 0 to V with 32 relays; two digits with 64."""

    relays: int
    outlets: dict[str, str]
    stuck = False  # takes orders and switches nothing

    def command(self, line: str) -> str:
        """Carry out a command and return its answer, which most have not."""
        if line == "ver":
            return "A0M09.01"
        if line == "id get":
            return "00000000"
        if line == "relay readall":
            bits = sum(1 << index for index, state in enumerate(self.outlets.values()) if state == "on")
            return f"{bits:0{max(2, self.relays // 4)}x}"
        found = re.fullmatch(r"relay (on|off|read) ([0-9]{2}|[0-9a-zA-Z])", line)
        if not found or (len(found[2]) == 2) != (self.relays == 64):
            return ""
        index = int(found[2], {64: 10, 32: 32}.get(self.relays, 16))
        port = str(index + 1)
        if port in self.outlets and found[1] != "read" and not self.stuck:
            self.outlets[port] = found[1]
        return self.outlets.get(port, "") if found[1] == "read" else ""


class Module(Relays, PtyDevice):
    """One module on USB."""

    def __init__(self, relays: int, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.relays = relays
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.typed = ""
        self.end = "\r\n" if relays == 64 else "\n\r"

    def heard(self, data: bytes) -> None:
        for character in data.decode("latin-1"):
            if character != "\r":
                self.typed += character
                continue
            line, self.typed = self.typed, ""
            self.sessions += line == ""
            if self.mood is Mood.GARBLED:
                self.send(b"\xfe\x81?" + self.end.encode() + b">")
                continue
            answer = self.command(line)
            said = line + self.end + (answer + self.end if answer else "") + ">"
            self.send(said.encode())


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a module."""
    relays = int(name.removeprefix("NumatoUSB"))
    with Module(relays, mood) as device:
        settings = {"driver": name, "device": device.path}
        bad = ["0", str(relays + 1), "a"]
        yield Case(device, "bench", settings, [*device.outlets], bad, identity=("Numato Lab", "", "", "A0M09.01"))
