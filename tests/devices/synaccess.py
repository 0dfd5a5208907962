# SPDX-License-Identifier: MIT
"""A Synaccess NP-08B: its console over telnet, which ends lines by LF CR and echoes what is typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.console import Left, Terminals
from tests.devices.base.device import Case, Mood

NAMES = ["synnetbooter"]
MOODS = [*Mood]
PASSWORD = "synaccess-secret"
NEW_LINE = "\n\r"


class NetBooter(Terminals):
    """The command ``login`` asks for user and password; before that, nothing is switched or shown.

    ``shy``: its first prompt waits for a key. ``tells``: what a wrong password is answered, None: it is asked again.
    ``lag``: how many lists after ``pset`` still show the state of before. ``leave``: what ends the session. ``stale``
    is said after each command, as if it were an answer. ``negotiation`` comes first.
    """

    username = "admin"
    password = PASSWORD
    shy = False
    tells: str | None = "Invalid User ID or password!"
    lag = 0
    leave: tuple[str, ...] = ("logout",)
    stale = ""

    def __init__(self, outlets: int = 8, mood: Mood = Mood.WELL) -> None:
        super().__init__(outlets, mood)
        self._old: list[dict[str, str]] = []

    @property
    def let_in(self) -> bool:
        return getattr(self._own, "let_in", False)

    def log_in(self) -> None:
        self.terminal.write(f"\r\nSynaccess Inc. Telnet Session V6.1.{NEW_LINE}")
        if self.shy:
            self.line()
        while not self.let_in:
            self.terminal.write(">")
            self.command()

    def session(self) -> None:
        while True:
            self.terminal.write(">")
            self.command()
            if self.stale:
                self.terminal.write(self.stale)

    def line(self, stars: bool = False) -> str:
        text = ""
        while (key := self.terminal.key()) != "\r":
            text += key
            self.terminal.write("*" if stars else key)
        self.terminal.write(NEW_LINE)
        return text

    def command(self) -> None:
        line = self.line()
        if line in self.leave:
            raise Left if self.let_in else ConnectionError("left without a login")
        if line == "login":
            self.ask_who()
        elif line:
            self.terminal.write(NEW_LINE + (self.answer(line) if self.let_in else f"Please login first.{NEW_LINE}"))

    def ask_who(self) -> None:
        while True:
            self.terminal.write("User ID:")
            name = self.line()
            self.terminal.write("Password:")
            password = self.line(stars=True)
            if (name, password) == (self.username, self.password) and self.mood is not Mood.WRONG_PASSWORD:
                self._own.let_in = True
                return
            if self.tells is not None:
                self.terminal.write(f"{self.tells}{NEW_LINE}")
                return

    def answer(self, line: str) -> str:
        """Act on a command; return what is printed before the next prompt."""
        if line == "pshow":
            return self.table(self._old.pop() if self._old else self.outlets)
        command = re.fullmatch(r"pset (\d+) ([01])", line)
        if command is None or command[1] not in self.outlets:
            return f"Invalid command or parameter.{NEW_LINE}"
        if self.mood is Mood.REFUSING:
            return f"Outlet is locked.{NEW_LINE}"
        self._old = [dict(self.outlets)] * self.lag
        self.outlets[command[1]] = "on" if command[2] == "1" else "off"
        return ""

    @staticmethod
    def table(outlets: dict[str, str]) -> str:
        cells = [f"{n:>4} |{f'Outlet{n}':>11} |   {state.upper():<3}|" for n, state in outlets.items()]
        rows = ["".join(cells[start : start + 2]) for start in range(0, len(cells), 2)]
        return NEW_LINE.join(["Port | Name       |Status", *rows]) + "\r\n"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device."""
    with NetBooter(8, mood) as device:
        device.negotiation = b"\xff\xfd\x03\xff\xfb\x01"
        settings = {"driver": name, "telnetport": device.port, "username": "admin", "password": PASSWORD}
        bad = ["0", "17", "-1", "x", "3;exit", "all"]
        names = {port: f"Outlet{port}" for port in device.outlets}
        yield Case(device, "127.0.0.1", settings, [*device.outlets], bad, [PASSWORD], names=names)
