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
NAMES = ["apc8959", "apc_cli"]
MOODS = [*Mood]
TOTALS = {"devReading power": "0.06 kW", "devReading energy": "87.2 kWh"}
OF_OUTLET = {"power": {"3": "43 W"}, "current": {"3": "0.2 A"}, "energy": {"3": "1.5 kWh"}}
ABOUT = [
    "Hardware Factory",
    "---------------",
    "Model Number:           AP8959EU3",
    "Serial Number:          ZA1101006430",
    "Hardware Revision:      02",
    "",
    "Application Module",
    "---------------",
    "Name:                   rpdu2g",
    "Version:                v6.4.6",
    "",
    "APC OS(AOS)",
    "---------------",
    "Name:                   aos",
    "Version:                v6.4.5",
]


class APCCommandLine(APC):
    """``olOn``, ``olOff``, ``olStatus`` with a number or ``all``, meters, and ``exit``. Its first prompt waits for a key.

    ``metered``: whether it measures outlets, as the AP86xx does; ``pending``: outlets that are about to be switched.
    """

    identity = ("APC", "AP8959EU3", "ZA1101006430", "6.4.6")
    metered = True
    pending: frozenset[str] = frozenset()
    names = {3: "Web: Server"}

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

    def name(self, number: int) -> str:
        return self.names.get(number, super().name(number))

    def meter(self, line: str) -> tuple[str, str, list[str]]:
        """Answer what asks for a measurement."""
        if line in TOTALS:
            return "E000", "Success", [TOTALS[line]]
        kind = line.removeprefix("olReading all ")
        if kind not in OF_OUTLET or not self.metered:
            return "E101", "Command Not Found", []
        values = {port: OF_OUTLET[kind].get(port, f"0 {OF_OUTLET[kind]['3'].split()[1]}") for port in self.outlets}
        return "E000", "Success", [f" {port}: {self.name(int(port))}: {value}" for port, value in values.items()]

    def answer(self, line: str) -> tuple[str, str, list[str]]:
        if line == "about":
            return "E000", "Success", ABOUT
        if "Reading " in line:
            return self.meter(line)
        command = re.fullmatch(r"(olOn|olOff|olStatus) (\S+)", line)
        if not command:
            return "E101", "Command Not Found", []
        ports = [*self.outlets] if command[2] == "all" else [command[2]]
        if not self.outlets.keys() >= {*ports}:
            return "E102", "Parameter Error", []
        if command[1] == "olStatus":
            return "E000", "Success", [f" {port}: {self.name(int(port))}: {self.shown(port)}" for port in ports]
        if self.mood is Mood.REFUSING:
            return "E103", "Not Permitted", []
        self.outlets.update(dict.fromkeys(ports, command[1][2:].lower()))
        return "E000", "Success", []

    def shown(self, port: str) -> str:
        """Return the state of an outlet as it is listed."""
        return self.outlets[port].capitalize() + ("*" if port in self.pending else "")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    with APCCommandLine(OUTLETS, mood).case(name) as made:
        made.readings = {port: {"watts": 0, "amps": 0, "watt_hours": 0} for port in made.ports}
        made.readings["3"] = {"watts": 43, "amps": 0.2, "watt_hours": 1500}
        if name == "apc_cli":
            telnet = {"ip": "127.0.0.1", "port": made.settings.pop("telnetport"), "transport": "telnet"}
            made.hostname, made.settings = "row", {**made.settings, **telnet}
            made.bad_ports = ["0", "49", "-1", "1;4", "x"]
        made.inlets = {"total": {"watts": 60, "watt_hours": 87200}}
        yield made
