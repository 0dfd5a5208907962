# SPDX-License-Identifier: MIT
"""Numato relay modules on Ethernet: telnet with a login, and the commands of those on USB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.console import Terminals
from tests.devices.base.device import Case, Mood
from tests.devices.numato import Relays

NAMES = ["numato_eth-8", "numato_eth-16", "numato_eth-32"]
ALIKE = NAMES[:2]  # the same but for how many there are
MOODS = [Mood.WELL, Mood.DEAF, Mood.WRONG_PASSWORD, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
USER, PASSWORD = "admin", "relay pw 4"


class Module(Relays, Terminals):
    """One module. Options of telnet come first; a wrong login is asked again."""

    negotiation = b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x18"
    keep = 0.0  # there is no logout, so who goes has left

    def __init__(self, relays: int, mood: Mood = Mood.WELL, echoes: bool = True) -> None:
        super().__init__(relays, mood)
        self.relays = relays
        self.echoes = echoes

    def log_in(self) -> None:
        self.terminal.echoes = self.echoes
        while True:
            self.terminal.write("User Name: ")
            name = self.terminal.line()
            self.terminal.write("Password: ")
            password = self.terminal.line(stars=True)
            if (name, password) == (USER, PASSWORD) and self.mood is not Mood.WRONG_PASSWORD:
                break
        self.terminal.write("Logged in successfully\r\n>")

    def session(self) -> None:
        self._taken_until = 0.0  # and the next may come as this one goes
        while True:
            answer = self.command(self.terminal.line())
            self.terminal.write((answer + "\r\n" if answer else "") + ">")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a module."""
    relays = int(name.partition("-")[2])
    with Module(relays, mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "password": PASSWORD}
        bad = ["0", str(relays + 1), "a"]
        identity = ("Numato Lab", "", "", "A0M09.01")
        yield Case(device, "hall", settings, [*device.outlets], bad, [PASSWORD], identity=identity)
