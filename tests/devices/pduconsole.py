# SPDX-License-Identifier: MIT
"""PDUs with a command line, over telnet: a Sentry, a Raritan PX, an Eaton ePDU G3, a CyberPower, a Cyclades PM, a WTI,
a BayTech RPC, an Avocent."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.commandline import PASSWORD, PDU
from tests.devices.base.device import Case, Mood

MOODS = [*Mood]


class Sentry(PDU):
    """A Switched CDU. Its pager stops a list after three lines, until it is told otherwise; the last has no name."""

    user, prompt, leave, ports, label = "admn", "Switched CDU: ", "logout", ("AA1", "AA2", "BA12"), "TowerA_Outlet{}"
    refusal = "Access denied"
    dot = "."
    pages = False
    readings = {port: {"watts": 73.0, "volts": 207.8, "amps": 0.45} for port in ports}

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.more = True
        del self.names[self.ports[-1]]

    def command(self, line: str) -> list[str]:
        if line == "set option more disabled":
            self.more = self.pages
            return ["", "   Command successful"]
        if line in ("status all", "ostat all"):
            last = "Control" if line[0] == "s" else "Load      Voltage   Power"
            head = [
                "",
                f"   Outlet   Outlet                    Outlet     {last}",
                "   ID       Name                  Status",
                "",
            ]
            rows = [
                f"   {self.dot}{port:7} {self.names.get(port, ''):24}  {state.title():9}  {self.last(line, state)}"
                for port, state in self.outlets.items()
            ]
            return (
                self.paged([*head, *rows, "", "   Command successful"])
                if self.metered or line[0] == "s"
                else ["Invalid command"]
            )
        found = re.fullmatch(rf"(on|off) {re.escape(self.dot)}(\w+)", line)
        return self.switch(found[2], found[1], "", "   Command successful") if found else ["Invalid command"]

    def last(self, line: str, state: str) -> str:
        """Return what a line of a list ends with."""
        return state.title() if line[0] == "s" else "0.45      207.8     73"

    def paged(self, lines: list[str]) -> list[str]:
        """Show some lines, a page at a time if the pager is on; return the last page."""
        while self.more and len(lines) > 3:
            self.terminal.write("\r\n".join(lines[:3]) + "\r\nMore (Y/es N/o): ")
            if self.terminal.line() != "y":
                return []
            lines = lines[3:]
        return lines


class Sentry4(Sentry):
    """A PRO2."""

    prompt, leave, dot = "Switched PRO2: ", "exit", ""


class Raritan(PDU):
    """A PX2, which asks back unless it is told not to."""

    prompt = "[My PDU] # "

    readings = {port: {"amps": 0.12, "watts": 1200.0, "watt_hours": 34512.0} for port in PDU.ports}

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        del self.names["1"]

    def command(self, line: str) -> list[str]:
        if line == "show outlets" or (line == "show outlets details" and self.metered):
            return [row for port, state in self.outlets.items() for row in self.block(port, state, "details" in line)]
        found = re.fullmatch(r"power outlets (\d+) (on|off) /y", line)
        return self.switch(found[1], found[2]) if found else ["Unknown command"]

    def block(self, port: str, state: str, details: bool) -> list[str]:
        """Return the lines of an outlet."""
        name = f" - {self.names[port]}" if port in self.names else ""
        measured = ["RMS Current: 0.12 A (normal)", "Active Power: 1.2 kW (normal)", "Active Energy: 34512 Wh (normal)"]
        lines = ["Power state: " + state.title(), *(measured if details else [])]
        return [f"Outlet {port}{name}:", *(f"  {each}" for each in lines), ""]


class Eaton(PDU):
    """An ePDU G3: objects that are got and set."""

    prompt, leave = "pdu#0>", "quit"
    readings = {port: {"watts": 43.0, "amps": 0.2} for port in PDU.ports}

    def command(self, line: str) -> list[str]:
        tree = "PDU.OutletSystem.Outlet"
        if line in (f"get {tree}[x].ActivePower", f"get {tree}[x].Current") and self.metered:
            return ["|".join(["43" if line.endswith("Power") else "0.2"] * len(self.outlets))]
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
    readings = {port: {"amps": 1.5} for port in PDU.ports}

    def command(self, line: str) -> list[str]:
        if line == "oltsta show":
            amps = "  1.5 A" if self.metered else ""
            rows = [f"{port:6} {self.names[port]:16} {state.title()}{amps}" for port, state in self.outlets.items()]
            return ["Index  Name             Status", *rows]
        found = re.fullmatch(r"oltctrl index (\d+) act (on|off)", line)
        return self.switch(found[1], found[2]) if found else ["Invalid command"]


class AskingCyberPower(CyberPower):
    """One that asks once more whom ssh has let in."""

    user = getpass.getuser()

    def session(self) -> None:
        self.log_in()
        super().session()


class Cyclades(PDU):
    """A PM, whose outlets have no names here."""

    prompt, label = "pm>", ""

    def command(self, line: str) -> list[str]:
        if line == "status all":
            return ["Outlet  Status", *(f"{port}\tUnlocked {state.upper()}" for port, state in self.outlets.items())]
        found = re.fullmatch(r"(on|off) (\d+)", line)
        return self.switch(found[2], found[1], f"{found[2]}: Outlet turned {found[1]}.") if found else ["Invalid"]


class WTI(PDU):
    """A VMR, whose plugs are on two circuits. ``busy``: those that it is about to switch. One has no name yet."""

    user, prompt, leave, asks = "super", "VMR> ", "/x,y", ("login: ", "Enter Password: ")
    ports = ("A1", "A2", "B1", "B2")
    refusal = "Invalid Command"
    busy: tuple[str, ...] = ()

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        del self.names["B2"]

    def command(self, line: str) -> list[str]:
        if line == "/s":
            return self.status()
        found = re.fullmatch(r"/(on|off) (\w+),y", line)
        return (self.switch(found[2], found[1]) or self.status()) if found else ["Invalid Command"]

    def status(self) -> list[str]:
        """Return the screen with the plugs, after a page of something else."""
        self.terminal.write("Site ID: rack 4\r\nPress Enter: ")
        self.terminal.line()
        rule = "-----+------------------+----------+------------+---------+"
        head = ["PLUG | NAME             | STATUS   | BOOT DELAY | DEFAULT |", rule]
        rows = [
            f" {port:3} | {self.names.get(port, '(undefined)'):16} | {self.shown(port):8} | 0.5 Secs   | ON      |"
            for port in self.outlets
        ]
        return [*head, *rows, rule]

    def shown(self, port: str) -> str:
        """Return the state of a plug as it is listed."""
        return self.outlets[port].upper() + "*" * (port in self.busy)


class OldWTI(WTI):
    """An NPS, which asks for a password and for no name; its plugs are numbers."""

    prompt, ports = "NPS> ", PDU.ports
    asks = "", "Password: "

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        self.names = {"B2": ""}
        PDU.__init__(self, mood)

    def log_in(self) -> None:
        self.ask_password()


class BayTech(PDU):
    """An RPC, which asks for a password alone, shows a menu, and asks before it switches."""

    prompt, asks, refusal = "RPC-3>", ("", "Enter password>"), "Locked by admin"
    inlets = {"total": {"amps": 0.1}}

    def log_in(self) -> None:
        self.ask_password()
        while True:
            self.terminal.write("\r\n1)...Outlet Control\r\n2)...Configuration\r\n\r\nEnter Selection>")
            if self.terminal.line() == "1":
                return

    def command(self, line: str) -> list[str]:
        if line == "current":
            return ["True RMS Current:   0.1 Amp"]
        found = re.fullmatch(r"(on|off) (\d+)", line)
        if found:
            self.terminal.write(f"Turn {found[1].title()} Outlet {found[2]} (Y/N)? ")
            if self.terminal.line() != "y":
                return ["Cancelled"]
            if refused := self.switch(found[2], found[1]):
                return refused
        elif line != "status":
            return ["Invalid command"]
        rows = [f" {port})...{self.names[port]:16}: {state.title()}" for port, state in self.outlets.items()]
        return ["RPC-3 Power Control", "", "Circuit Breaker : On", "", *rows]


class Avocent(PDU):
    """A PM3000, whose outlets are targets."""

    prompt, leave, label = "cli-> ", "quit", ""
    ports = ("rack1_outlet_1", "rack1_outlet_2", "Web-server.3")

    def command(self, line: str) -> list[str]:
        if line == "show /access/":
            rows = [f"  {port:20}  outlet    {state}" for port, state in self.outlets.items()]
            return ["  name                  type      status", "  ===================   =======   ======", *rows]
        found = re.fullmatch(r"power (on|off) /access/(\S+)", line)
        return self.switch(found[2], found[1]) if found else ["Error: Invalid command"]


MODELS = {
    "sentry_cli": Sentry,
    "sentry4_cli": Sentry4,
    "raritan_cli": Raritan,
    "eaton_cli": Eaton,
    "cyberpower_cli": CyberPower,
    "cyclades_cli": Cyclades,
    "wti_cli": WTI,
    "baytech_cli": BayTech,
    "avocent_cli": Avocent,
}
NAMES = [*MODELS]
NUMBERS = ["0", "65", "-1", "A1"]
BAD_PORTS = {
    "sentry_cli": ["1", "AAA1", "A", "AA1;off"],
    "sentry4_cli": ["1", "AAA1", "A", "AA1;off"],
    "wti_cli": ["0", "A0", "AB1", "A1,y"],
    "avocent_cli": ["1", "a/b", "-x", "x;y"],
}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU, over telnet."""
    with MODELS[name](mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "transport": "telnet", "password": PASSWORD}
        bad = BAD_PORTS.get(name, NUMBERS)
        made = Case(device, "row", settings, [*device.outlets], bad, [PASSWORD], names=device.names)
        made.readings, made.inlets = device.readings, device.inlets
        yield made
