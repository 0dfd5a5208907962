# SPDX-License-Identifier: MIT
"""A Gude Expert Power Control 1202: its console, as the vendor describes it, and the page with the states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.console import Left, Terminals
from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["gude1202"]
MOODS = [*Mood]
PASSWORD = "gude-secret"


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

    def __init__(self, device: EPC) -> None:
        super().__init__()
        self.device = device

    def answer(self, request: Request) -> Answer:
        if request.target != "/statusjsn.js?components=1":
            return Answer(404)
        states = self.device.outlets.items()
        entries = (f'{{"name":"Power Port {n}","state":{int(state == "on")},"type":1}}' for n, state in states)
        return Answer(200, f'{{"outputs":[{",".join(entries)}]}}')


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device that requires a login."""
    with EPC(mood) as device:
        device.login = True
        settings = {"driver": name, "telnetport": device.port, "username": device.username, "password": PASSWORD}
        bad = ["0", "13", "-1", "x", "3;quit"]
        yield Case(device, "127.0.0.1", settings, [*device.outlets], bad, [PASSWORD])
