# SPDX-License-Identifier: MIT
"""Bench supplies that speak SCPI: one dialect for each maker, a queue of errors, set points, loads and protections."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
TRIPPED = {
    "scpi-keysight": (r"VOLT:PROT:TRIP\? \(@(?P<n>\d)\)", r"CURR:PROT:TRIP\? \(@(?P<n>\d)\)"),
    "scpi-rigol": (r":OUTP:OVP:QUES\? CH(?P<n>\d)", r":OUTP:OCP:QUES\? CH(?P<n>\d)"),
    "scpi-rohde-nge": (r"VOLT:PROT:TRIP\?", r"FUSE:TRIP\?"),
    "scpi-rohde-hmp": (r"VOLT:PROT:TRIP\?", r"FUSE:TRIP\?"),
}
SIGLENT = {
    "switch": r"OUTP(?:UT)? CH(?P<n>\d),(?P<state>ON|OFF)",
    "bits": r"SYST(?:EM)?:STAT(?:US)?\?",
    "volts": r"MEAS(?:URE)?:VOLT(?:AGE)?\? CH(?P<n>\d)",
    "amps": r"MEAS(?:URE)?:CURR(?:ENT)?\? CH(?P<n>\d)",
    "watts": r"MEAS(?:URE)?:POWE(?:R)?\? CH(?P<n>\d)",
}
DIALECTS = {"scpi-keysight": LISTED, "scpi-rigol": NAMED, "scpi-siglent": SIGLENT}


@dataclass
class Channel:
    """What a channel is set to, and what is behind it. ``protected``: above its amps it switches off, and stays so."""

    volts: float = 5.0
    amps: float = 1.0
    ohms: float = 50.0
    protected: bool = False
    tripped: bool = False

    @property
    def drawn(self) -> tuple[float, float]:
        """The volts and amps at the load: those that were set, whichever is reached first."""
        amps = min(self.amps, self.volts / self.ohms)
        return amps * self.ohms, amps


class Supply(Device):
    """A supply. ``stuck``: does not obey.

    Without ``channels`` its meters stand still: n + 4 volts and n tenths of an amp, also when it is off.
    """

    def __init__(self, model: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.model = model
        self.name = f"Maker,{model},SN123,1.02"
        self.outlets = {str(number): "off" for number in range(1, CHANNELS[model] + 1)}
        self.errors: list[str] = []
        self.stuck = False
        self.channels: dict[str, Channel] = {}

    def switch(self, port: str, state: str) -> None:
        """Switch a channel; one that a protection has switched off wants that cleared first, by hand."""
        channel = self.channels.get(port)
        if channel and state == "on":
            channel.tripped |= channel.protected and channel.volts / channel.ohms > channel.amps
            state = "off" if channel.tripped else "on"
        self.outlets[port] = state

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
            return self.name, chosen
        if line == "SYST:ERR?":
            none = "0  No Error" if self.model == "scpi-siglent" else '+0,"No error"'
            return self.errors.pop(0) if self.errors else none, chosen
        for what, pattern in DIALECTS.get(self.model, SELECTED).items():
            found = re.fullmatch(pattern, line, re.IGNORECASE)
            port = found.groupdict().get("n", chosen) if found else ""
            if found and port in self.outlets:
                if what == "select":
                    return "", port
                if what == "switch" and self.mood is Mood.REFUSING:
                    self.errors.append(CONFLICT)
                elif what == "switch" and not self.stuck:
                    self.switch(port, found["state"].lower())
                return self.told(what, port), chosen
        for over, pattern in zip(("volts", "amps"), TRIPPED.get(self.model, ()), strict=False):
            if found := re.fullmatch(pattern, line, re.IGNORECASE):
                channel = self.channels.get(found.groupdict().get("n", chosen))
                said = bool(channel and channel.tripped and over == "amps")
                return ("YES" if said else "NO") if self.model == "scpi-rigol" else str(int(said)), chosen
        self.errors.append('-113,"Undefined header"')
        return "", chosen

    def told(self, what: str, port: str) -> str:
        """Return the answer to a question."""
        on = self.outlets[port] == "on"
        volts, amps = float(int(port) + 4), int(port) / 10
        if self.channels:
            volts, amps = self.channels[port].drawn if on else (0.0, 0.0)
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
