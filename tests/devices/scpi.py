# SPDX-License-Identifier: MIT
"""Bench supplies: the words of their makers over TCP, and an error queue."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["scpi", "scpi-keysight", "scpi-rigol", "scpi-siglent"]
MOODS = [mood for mood in Mood if mood not in (Mood.WRONG_PASSWORD, Mood.BUSY)]
OUTPUTS = {"scpi": 1, "scpi-keysight": 3, "scpi-rigol": 3, "scpi-siglent": 2}
ORDERS = {
    "scpi": r"OUTP (?P<state>ON|OFF)",
    "scpi-keysight": r"OUTP (?P<state>ON|OFF),\(@(?P<n>\d)\)",
    "scpi-rigol": r":OUTP CH(?P<n>\d),(?P<state>ON|OFF)",
    "scpi-siglent": r"OUTPUT CH(?P<n>\d),(?P<state>ON|OFF)",
}
QUESTIONS = {
    "scpi": r"OUTP\?",
    "scpi-keysight": r"OUTP\? \(@(?P<n>\d)\)",
    "scpi-rigol": r":OUTP\? CH(?P<n>\d)",
    "scpi-siglent": r"SYSTEM:STATUS\?",
}
DRAWN = {"scpi-rigol": {"volts": 5.0, "amps": 0.1, "watts": 0.5}, "scpi-siglent": {"watts": 0.5}}


class Supply(Device):
    """A supply of some maker, by its driver's name. ``stuck``: it takes orders and does nothing."""

    def __init__(self, kind: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.kind = kind
        self.outlets = {str(number): "off" for number in range(1, OUTPUTS[kind] + 1)}
        self.stuck = False
        self._error = '0,"No error"'

    def converse(self, connection: socket.socket) -> None:
        unread = b""
        while True:
            line, end, rest = unread.partition(b"\n")
            if not end:
                unread += self.receive(connection)
                continue
            unread = rest
            with self.lock:
                answer = self.answer(line.decode())
            if answer is not None:
                self.send(connection, b"\x81\xfe?\n" if self.mood is Mood.GARBLED else f"{answer}\n".encode())

    def answer(self, line: str) -> str | None:
        """Act on a line; return what it is answered, if it is a question."""
        if line == "SYST:ERR?":
            error, self._error = self._error, '0,"No error"'
            return error
        if line == "*IDN?":
            return "RIGOL TECHNOLOGIES,DP832,DP8C1,00.01.16"
        if found := re.fullmatch(ORDERS[self.kind], line):
            if self.mood is Mood.REFUSING:
                self._error = '-221,"Settings conflict"'
            elif not self.stuck:
                self.outlets[found.groupdict().get("n") or "1"] = found["state"].lower()
            return None
        if found := re.fullmatch(QUESTIONS[self.kind], line):
            if self.kind == "scpi-siglent":
                bits = sum(1 << int(port) + 3 for port, state in self.outlets.items() if state == "on")
                return f"0x{bits | 0x4:04x}"
            state = self.outlets[found.groupdict().get("n") or "1"]
            return state.upper() if self.kind == "scpi-rigol" else str(int(state == "on"))
        if re.fullmatch(r":MEAS:ALL\? CH\d", line):
            return "5.0000,0.1000,0.500"
        if re.fullmatch(r"MEASure:POWEr\? CH\d", line):
            return "0.500"
        self._error = '-113,"Undefined header"'
        return None


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a supply."""
    with Supply(name, mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "tcpport": device.port}
        readings = dict.fromkeys(device.outlets, DRAWN[name]) if name in DRAWN else {}
        identity = ("RIGOL TECHNOLOGIES", "DP832", "DP8C1", "00.01.16")
        bad = ["0", str(OUTPUTS[name] + 1), "-1", "x"]
        yield Case(device, "psu", settings, [*device.outlets], bad, readings=readings, identity=identity)
