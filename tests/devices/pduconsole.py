# SPDX-License-Identifier: MIT
"""PDUs with a command line: a Sentry, a Raritan PX, an Eaton ePDU G3, a CyberPower, a Cyclades PM; over telnet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.console import Left, Terminals
from tests.devices.base.device import Case, Mood

MOODS = [*Mood]
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


class Sentry(PDU):
    """A Switched CDU, whose pager is on until it is told otherwise."""

    user, prompt, leave, ports, label = "admn", "Switched CDU: ", "logout", ("AA1", "AA2", "BA12"), "TowerA_Outlet{}"
    refusal = "Access denied"

    def command(self, line: str) -> list[str]:
        if line == "set option more disabled":
            return ["", "   Command successful"]
        if line == "status all":
            head = [
                "",
                "   Outlet   Outlet                    Outlet     Control",
                "   ID       Name      Status     State",
                "",
            ]
            rows = [
                f"   .{port:7} {self.names[port]:24}  {state.title():9}  {state.title()}"
                for port, state in self.outlets.items()
            ]
            return [*head, *rows, "", "   Command successful"]
        found = re.fullmatch(r"(on|off) \.(\w+)", line)
        return self.switch(found[2], found[1], "", "   Command successful") if found else ["Invalid command"]


class Raritan(PDU):
    """A PX2, which asks back unless it is told not to."""

    prompt = "[My PDU] # "

    def command(self, line: str) -> list[str]:
        if line == "show outlets":
            return [row for port, state in self.outlets.items() for row in self.block(port, state)]
        found = re.fullmatch(r"power outlets (\d+) (on|off) /y", line)
        return self.switch(found[1], found[2]) if found else ["Unknown command"]

    def block(self, port: str, state: str) -> list[str]:
        """Return the lines of an outlet; the first has no name."""
        name = "" if port == "1" else f" - {self.names[port]}"
        return [f"Outlet {port}{name}:", f"  Power state: {state.title()}", ""]


class Eaton(PDU):
    """An ePDU G3: objects that are got and set."""

    prompt, leave = "pdu#0>", "quit"

    def command(self, line: str) -> list[str]:
        tree = "PDU.OutletSystem.Outlet"
        if line == f"get {tree}.Count":
            return [str(len(self.outlets))]
        if line == f"get {tree}[x].iName":
            return ["|".join(self.names.values())]
        if line == f"get {tree}[x].PresentStatus.SwitchOnOff":
            return ["|".join(str(int(state == "on")) for state in self.outlets.values())]
        found = re.fullmatch(r"set PDU\.OutletSystem\.Outlet\[(\d+)\]\.DelayBefore(Startup|Shutdown) 0", line)
        return self.switch(found[1], "on" if found[2] == "Startup" else "off", "0") if found else ["Error: unknown"]


class CyberPower(PDU):
    """An RMCARD."""

    user, prompt, asks = "cyber", "CyberPower > ", ("Login Name: ", "Password: ")

    def command(self, line: str) -> list[str]:
        if line == "oltsta show":
            rows = [f"{port:6} {self.names[port]:16} {state.title()}" for port, state in self.outlets.items()]
            return ["Index  Name             Status", *rows]
        found = re.fullmatch(r"oltctrl index (\d+) act (on|off)", line)
        return self.switch(found[1], found[2]) if found else ["Invalid command"]


class Cyclades(PDU):
    """A PM, whose outlets have no names here."""

    prompt, label = "pm>", ""

    def command(self, line: str) -> list[str]:
        if line == "status all":
            return ["Outlet  Status", *(f"{port}\tUnlocked {state.upper()}" for port, state in self.outlets.items())]
        found = re.fullmatch(r"(on|off) (\d+)", line)
        return self.switch(found[2], found[1], f"{found[2]}: Outlet turned {found[1]}.") if found else ["Invalid"]


MODELS = {
    "sentry_cli": Sentry,
    "raritan_cli": Raritan,
    "eaton_cli": Eaton,
    "cyberpower_cli": CyberPower,
    "cyclades_cli": Cyclades,
}
NAMES = [*MODELS]


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU, over telnet."""
    with MODELS[name](mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "transport": "telnet", "password": PASSWORD}
        bad = ["1", "AAA1", "A", "AA1;off"] if name == "sentry_cli" else ["0", "65", "-1", "A1"]
        names = {port: each for port, each in device.names.items() if not (name == "raritan_cli" and port == "1")}
        yield Case(device, "row", settings, [*device.outlets], bad, [PASSWORD], names=names)
