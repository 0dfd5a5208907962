# SPDX-License-Identifier: MIT
"""A Gude Expert Power Control 1202: its console, as the vendor describes it, and the page with the states."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.console import Left, Terminals
from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["gude1202"]
MOODS = [*Mood]
PASSWORD = "gude-secret"
FIELDS = [
    "Voltage V",
    "Current A",
    "Frequency Hz",
    "PhaseIF °",
    "ActivePower W",
    "FwdActEnergyRes kWh",
    "FwdActEnergy kWh",
]
SENSORS = {
    "sensor_descr": [
        {
            "type": 8,
            "num": 1,
            "fields": [{"name": field.split()[0], "unit": field.split()[1]} for field in FIELDS],
            "properties": [{"id": "1", "real_id": 0, "name": "Input 1"}],
        },
        {
            "type": 51,
            "num": 1,
            "fields": [{"name": "Temperature", "unit": "°C"}],
            "properties": [{"id": "7101", "real_id": 0, "name": "7101"}],
        },
    ],
    "sensor_values": [
        {"type": 8, "num": 1, "values": [[{"v": value} for value in (230, 0.51, 50.0, 17, 117, 1.5, 12.345)]]},
        {"type": 51, "num": 1, "values": [[{"v": 23.4}]]},
    ],
}


class EPC(Terminals):
    """Twelve outlets.

    ``login``: whether it requires one. ``echo``: whether it echoes. ``numeric``: answers 1 and 0 for ON and OFF.
    ``pushes`` is said before each answer. ``shows``: whether it knows ``state show``.
    """

    username = "pdudaemon"
    password = PASSWORD
    login = False
    greeting = "\r\nExpert Power Control 1202\r\n>"
    echo = True
    numeric = False
    pushes = ""
    shows = True

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(12, mood)

    def log_in(self) -> None:
        while self.login:
            self.terminal.write("\r\nUsername: ")
            name = self.line()
            self.terminal.write("Password: ")
            password = self.line(secret=True)
            if (name, password) == (self.username, self.password) and self.mood is not Mood.WRONG_PASSWORD:
                break
            self.terminal.write("ERR. wrong login\r\n")
        if self.greeting:
            self.terminal.write(self.greeting)

    def session(self) -> None:
        while (line := self.line()) != "quit":
            self.terminal.write(f"{self.pushes}{self.answer(line)}\r\n>")
        raise Left

    def line(self, secret: bool = False) -> str:
        text = ""
        while (key := self.terminal.key()) != "\r":
            text += key
            if self.echo and not secret:
                self.terminal.write(key)
        if self.echo:
            self.terminal.write("\r\n")
        return text

    def answer(self, line: str) -> str:
        command = re.fullmatch(r"port (\d+) state (show|set (\S+))", line)
        if command is None or (command[2] == "show" and not self.shows):
            return "ERR. unknown command"
        port, what, value = command.groups()
        if port not in self.outlets:
            return "ERR. bad parameter"
        if what == "show":
            on = self.outlets[port] == "on"
            return str(int(on)) if self.numeric else "ON" if on else "OFF"
        if self.mood is Mood.REFUSING:
            return "ERR. not allowed"
        if value not in ("1", "0", "ON", "OFF"):
            return "ERR. bad parameter"
        self.outlets[port] = "on" if value in ("1", "ON") else "off"
        return "OK."


class StatusPage(WebDevice):
    """The web interface beside the console of a device."""

    def __init__(self, device: EPC, login: str = "") -> None:
        super().__init__(device.mood, login)
        self.device = device

    def answer(self, request: Request) -> Answer:
        components = request.target.removeprefix("/statusjsn.js?components=")
        if components not in ("1", "81921") or request.method != "GET":
            return Answer(404)
        said: dict[str, object] = {
            "outputs": [
                {"name": f"Power Port {port}", "state": int(state == "on"), "type": 1}
                for port, state in self.device.outlets.items()
            ]
        }
        return Answer(200, json.dumps({**said, **(SENSORS if components != "1" else {})}))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device that requires a login."""
    password = "changed" if mood is Mood.WRONG_PASSWORD else PASSWORD
    with EPC(mood) as device, StatusPage(device, f"{EPC.username}:{password}") as page:
        device.login = True
        settings = {"driver": name, "telnetport": device.port, "httpport": page.port}
        settings |= {"username": device.username, "password": PASSWORD}
        bad = ["0", "13", "-1", "x", "3;quit"]
        names = {port: f"Power Port {port}" for port in device.outlets}
        inlets = {"Input 1": {"watts": 117, "volts": 230, "amps": 0.51, "watt_hours": 12345}}
        yield Case(device, "127.0.0.1", settings, [*device.outlets], bad, [PASSWORD], names, inlets=inlets)
