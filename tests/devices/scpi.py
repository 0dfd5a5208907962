# SPDX-License-Identifier: MIT
"""Bench supplies that speak SCPI: one dialect for each maker, a queue of errors, and meters that stand still."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

CHANNELS = {
    "scpi": 1,
    "scpi-keysight": 3,
    "scpi-rigol": 3,
    "scpi-rohde-nge": 3,
    "scpi-rohde-hmp": 4,
    "scpi-siglent": 2,
}
NAMES = [*CHANNELS]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
CONFLICT = '-221,"Settings conflict"'

# What each understands of channels: to switch, to be asked, to measure.
LISTED = {
    "switch": r"OUTP (?P<state>ON|OFF),\(@(?P<n>\d)\)",
    "state": r"OUTP\? \(@(?P<n>\d)\)",
    "volts": r"MEAS:VOLT\? \(@(?P<n>\d)\)",
    "amps": r"MEAS:CURR\? \(@(?P<n>\d)\)",
}
NAMED = {
    "switch": r":OUTP CH(?P<n>\d),(?P<state>ON|OFF)",
    "state": r":OUTP\? CH(?P<n>\d)",
    "all": r":MEAS:ALL\? CH(?P<n>\d)",
}
SELECTED = {
    "select": r"INST OUT(?P<n>\d)",
    "switch": r"OUTP (?P<state>ON|OFF)",
    "state": r"OUTP\?",
    "volts": r"MEAS:VOLT\?",
    "amps": r"MEAS:CURR\?",
}
SIGLENT = {
    "switch": r"OUTP(?:UT)? CH(?P<n>\d),(?P<state>ON|OFF)",
    "bits": r"SYST(?:EM)?:STAT(?:US)?\?",
    "volts": r"MEAS(?:URE)?:VOLT(?:AGE)?\? CH(?P<n>\d)",
    "amps": r"MEAS(?:URE)?:CURR(?:ENT)?\? CH(?P<n>\d)",
    "watts": r"MEAS(?:URE)?:POWE(?:R)?\? CH(?P<n>\d)",
}
DIALECTS = {"scpi-keysight": LISTED, "scpi-rigol": NAMED, "scpi-siglent": SIGLENT}


class Supply(Device):
    """A supply. Channel n gives n + 4 volts and n tenths of an amp, also when it is off. ``stuck``: does not obey."""

    def __init__(self, model: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.model = model
        self.outlets = {str(number): "off" for number in range(1, CHANNELS[model] + 1)}
        self.errors: list[str] = []
        self.stuck = False

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.BUSY:
            return
        chosen, typed = "1", b""
        while True:
            typed += self.receive(connection)
            *lines, typed = typed.split(b"\n")
            for line in lines:
                said, chosen = self.command(line.decode(), chosen)
                if self.mood is Mood.GARBLED:
                    said = "\x81?" if b"?" in line else ""
                if said:
                    self.send(connection, said.encode("latin-1") + b"\n")

    def command(self, line: str, chosen: str) -> tuple[str, str]:
        """Carry out a line; return its answer, and the channel that is selected from now on."""
        if line == "*IDN?":
            return f"Maker,{self.model},SN123,1.02", chosen
        if line == "SYST:ERR?":
            return self.errors.pop(0) if self.errors else '+0,"No error"', chosen
        for what, pattern in DIALECTS.get(self.model, SELECTED).items():
            found = re.fullmatch(pattern, line, re.IGNORECASE)
            port = found.groupdict().get("n", chosen) if found else ""
            if found and port in self.outlets:
                if what == "select":
                    return "", port
                if what == "switch" and self.mood is Mood.REFUSING:
                    self.errors.append(CONFLICT)
                elif what == "switch" and not self.stuck:
                    self.outlets[port] = found["state"].lower()
                return self.told(what, port), chosen
        self.errors.append('-113,"Undefined header"')
        return "", chosen

    def told(self, what: str, port: str) -> str:
        """Return the answer to a question."""
        volts, amps = int(port) + 4, int(port) / 10
        on = self.outlets[port] == "on"
        bits = sum(1 << int(each) + 3 for each, state in self.outlets.items() if state == "on")
        return {
            "state": ("ON" if on else "OFF") if self.model == "scpi-rigol" else str(int(on)),
            "bits": f"0x{bits | 5:x}",
            "volts": f"+{volts:.8E}",
            "amps": f"{amps:.4f}",
            "watts": f"{volts * amps:.3f}",
            "all": f"{volts:.4f},{amps:.4f},{volts * amps:.3f}",
        }.get(what, "")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a supply; its address is the name of the PDU."""
    with Supply(name, mood) as device:
        settings = {"driver": name, "tcpport": device.port}
        readings = {
            port: {"volts": int(port) + 4.0, "amps": int(port) / 10, "watts": (int(port) + 4) * int(port) / 10}
            for port in device.outlets
        }
        bad = ["0", str(len(device.outlets) + 1), "-1", "CH1"]
        identity = ("Maker", name, "SN123", "1.02")
        yield Case(device, "127.0.0.1", settings, [*device.outlets], bad, readings=readings, identity=identity)
