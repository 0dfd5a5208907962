# SPDX-License-Identifier: MIT
"""PDUs with a command line: a login, a prompt, and commands that list outlets and switch them."""

from __future__ import annotations

from tests.devices.base.console import Left, Terminals
from tests.devices.base.device import Mood

PASSWORD = "rack pw 9"


class PDU(Terminals):
    """Some outlets, the second of which has a name with blanks. ``stuck``: it says yes and does nothing."""

    user = "admin"
    asks = "Username: ", "Password: "
    prompt = ""
    leave = "exit"
    ports: tuple[str, ...] = ("1", "2", "3", "4")
    label = "Outlet{}"
    refusal = "Error: not permitted"
    metered = True
    readings: dict[str, dict[str, float]] = {}
    inlets: dict[str, dict[str, float]] = {}

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(0, mood)
        self.outlets = dict.fromkeys(self.ports, "off")
        self.names = {port: self.label.format(port) for port in self.ports} if self.label else {}
        self.stuck = False
        if self.names:
            self.names[self.ports[1]] = "Web server 2"

    def log_in(self) -> None:
        while True:
            self.terminal.write(f"\r\n{self.asks[0]}")
            name = self.terminal.line()
            self.terminal.write(self.asks[1])
            password = self.terminal.line(stars=True)
            if (name, password) == (self.user, PASSWORD) and self.mood is not Mood.WRONG_PASSWORD:
                return
            self.terminal.write("\r\nAccess denied\r\n")

    def ask_password(self) -> None:
        """Ask for a password, and for no name."""
        while True:
            self.terminal.write(f"\r\n{self.asks[1]}")
            if self.terminal.line(stars=True) == PASSWORD and self.mood is not Mood.WRONG_PASSWORD:
                return
            self.terminal.write("\r\nInvalid\r\n")

    def session(self) -> None:
        while True:
            self.terminal.write(f"\r\n{self.prompt}")
            line = self.terminal.line()
            if line == self.leave:
                raise Left
            self.terminal.write("\r\n".join(self.command(line)) + "\r\n")

    def command(self, line: str) -> list[str]:
        """Carry out a command; return its answer."""
        raise NotImplementedError

    def switch(self, port: str, state: str, *done: str) -> list[str]:
        """Switch an outlet."""
        if self.mood is Mood.REFUSING or port not in self.outlets:
            return [self.refusal]
        if not self.stuck:
            self.outlets[port] = state
        return [*done]
