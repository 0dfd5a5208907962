# SPDX-License-Identifier: MIT
"""APC's command line over telnet, as the rPDU2G has it: answers begin with a code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.apcmenu import APC
from tests.devices.base.console import Left
from tests.devices.base.device import Case, Mood

OUTLETS = 24
NAMES = ["apc8959"]
MOODS = [*Mood]


class APCCommandLine(APC):
    """``olOn``, ``olOff``, ``olStatus`` with a number or ``all``, and ``exit``. Its first prompt waits for a key."""

    def session(self) -> None:
        self.terminal.write("\r\nAmerican Power Conversion\r\nAOS v6.4.6\r\n")
        while True:
            line = self.terminal.line()
            if line == "exit":
                raise Left
            if line:
                code, words, rows = self.answer(line)
                self.terminal.write("\r\n".join([f"{code}: {words}", *rows, ""]))
                if code == "E000":
                    self.terminal.write("\r\n")
            self.terminal.write("apc>")

    def answer(self, line: str) -> tuple[str, str, list[str]]:
        command = re.fullmatch(r"(olOn|olOff|olStatus) (\S+)", line)
        if not command:
            return "E101", "Command Not Found", []
        ports = [*self.outlets] if command[2] == "all" else [command[2]]
        if not self.outlets.keys() >= {*ports}:
            return "E102", "Parameter Error", []
        if command[1] == "olStatus":
            return "E000", "Success", [f" {port}: Outlet {port}: {self.outlets[port].capitalize()}" for port in ports]
        if self.mood is Mood.REFUSING:
            return "E103", "Not Permitted", []
        self.outlets.update(dict.fromkeys(ports, command[1][2:].lower()))
        return "E000", "Success", []


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    with APCCommandLine(OUTLETS, mood).case(name) as made:
        yield made
