# SPDX-License-Identifier: MIT
"""A WattBox of the series 800: the IP control protocol over telnet."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["wattbox"]
MOODS = [*Mood]
PASSWORD = "watt#box"


class WattBox(Device):
    """Twelve outlets. ``measures``: whether it knows the power of each. ``news``: what it says before each answer."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 13)}
        self.names = {port: f"Router {port}" for port in self.outlets}
        self.measures = True
        self.news = ""
        self.exits = 0

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.BUSY:
            return
        if self.mood is Mood.GARBLED:
            connection.sendall(b"\x7e\x00\x9d~{\r\n" * 10)
            return
        unread = bytearray()

        def line() -> str:
            while b"\n" not in unread:
                unread.extend(self.receive(connection))
            said, _, rest = bytes(unread).partition(b"\n")
            unread[:] = rest
            return re.sub(rb"\xff[\xfb-\xfe].", b"", said).decode().strip("\r")

        self.send(connection, b"Please Login to Continue\r\nUsername: ")
        name = line()
        self.send(connection, b"Password: ")
        password = line()
        if (name, password) != ("wattbox", PASSWORD) or self.mood is Mood.WRONG_PASSWORD:
            self.send(connection, b"Invalid Login\r\n")
            return
        self.send(connection, b"Successfully Logged In!\r\n")
        while (said := line()) != "!Exit":
            with self.lock:
                answer = self.answer(said)
            self.send(connection, f"{self.news}{answer}\r\n".encode())
        self.exits += 1

    def answer(self, line: str) -> str:
        """Act on a line and return what it is answered."""
        bits = ",".join(str(int(state == "on")) for state in self.outlets.values())
        names = ",".join(f"{{{name}}}" for name in self.names.values())
        told = {"OutletCount": "12", "OutletStatus": bits, "OutletName": names, "PowerStatus": "5.00,600.00,120.00,1"}
        told |= {"Model": "WB-800-IPVM-12", "ServiceTag": "ST191500681E8422", "Firmware": "1.3.0.2"}
        if line[1:] in told and line.startswith("?"):
            return f"{line}={told[line[1:]]}"
        if (found := re.fullmatch(r"\?OutletPowerStatus=(\d+)", line)) and self.measures:
            return f"{line},12.50,0.11,120.10" if found[1] in self.outlets else "#Error"
        found = re.fullmatch(r"!OutletSet=(\d+),(ON|OFF)", line)
        if found is None or found[1] not in self.outlets or self.mood is Mood.REFUSING:
            return "#Error"
        self.outlets[found[1]] = found[2].lower()
        return "OK"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a WattBox."""
    with WattBox(mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "telnetport": device.port, "password": PASSWORD}
        readings = {port: {"watts": 12.5, "amps": 0.11, "volts": 120.1} for port in device.outlets}
        yield Case(
            device,
            "av",
            settings,
            [*device.outlets],
            ["0", "25", "-1", "x"],
            [PASSWORD],
            device.names,
            readings,
            inlets={"total": {"watts": 600, "volts": 120, "amps": 5}},
            identity=("Snap One", "WB-800-IPVM-12", "ST191500681E8422", "1.3.0.2"),
        )
