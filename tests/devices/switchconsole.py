# SPDX-License-Identifier: MIT
"""A Cisco Catalyst and a Ubiquiti EdgeSwitch with PoE: their command lines, over telnet or whatever else has keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.console import Left, Terminals
from tests.devices.base.device import Case, Mood

NAMES = ["cisco_poe", "edgeswitch_poe"]
MOODS = [*Mood]
USER, PASSWORD, ENABLE = "pdu", "switch pw 7", "enable pw 8"
INVALID = "% Invalid input detected at '^' marker."


class Cisco(Terminals):
    """Four ports; a prompt for each mode. ``privileged``: whether the user is so from the beginning."""

    names = ("Gi1/0/1", "Gi1/0/2", "Gi1/0/3", "Te1/0/4")
    first, second = "\r\nUser Access Verification\r\n\r\nUsername: ", "Password: "
    modes = ("Core-1>", "Core-1#", "Core-1(config)#", "Core-1(config-if)#")

    def __init__(self, mood: Mood = Mood.WELL, privileged: bool = False) -> None:
        super().__init__(0, mood)
        self.outlets = dict.fromkeys(self.names, "off")
        self.privileged = privileged
        self.obeys = True

    def log_in(self) -> None:
        while True:
            self.terminal.write(self.first)
            name = self.terminal.line()
            self.terminal.write(self.second)
            self.terminal.echoes = False
            password = self.terminal.line()
            self.terminal.echoes = True
            if (name, password) == (USER, PASSWORD) and self.mood is not Mood.WRONG_PASSWORD:
                return
            self.terminal.write("\r\n% Login invalid\r\n")

    def session(self) -> None:
        self.level, self.interface, self.paged = int(self.privileged), "", True
        while True:
            self.terminal.write(f"\r\n{self.modes[self.level]}")
            said = self.command(self.terminal.line())
            if said:
                self.terminal.write("\r\n".join(said) + "\r\n")

    def command(self, line: str) -> list[str]:
        """Carry out a command. Raises: Left."""
        match line.split():
            case []:
                return []
            case ["exit"] if self.level < 2:
                raise Left
            case ["exit"]:
                self.level -= 1
            case ["end"] if self.level > 1:
                self.level = 1
            case ["enable"]:
                return self.enable()
            case ["terminal", "length", "0"]:
                self.paged = False
            case ["configure", "terminal"] if self.level == 1:
                self.level = 2
                return ["Enter configuration commands, one per line.  End with CNTL/Z."]
            case ["interface", name] if self.level >= 2 and name in self.outlets:
                self.level, self.interface = 3, name
            case ["power", "inline", "auto" | "never" as word] if self.level == 3:
                return self.switch("on" if word == "auto" else "off")
            case ["show", "power", "inline", *name] if self.level == 1 and {*name} <= self.outlets.keys():
                return self.page([*self.head(), *map(self.row, name or self.outlets)])
            case _:
                return [" " * 10 + "^", INVALID]
        return []

    def enable(self) -> list[str]:
        """Ask for the password of privileges."""
        if self.level == 0:
            self.terminal.write("Password: ")
            self.terminal.echoes = False
            right = self.terminal.line() == ENABLE
            self.terminal.echoes = True
            if not right:
                return ["% Bad secrets"]
        self.level = 1
        return []

    def switch(self, state: str) -> list[str]:
        """Switch the interface that is configured."""
        if self.mood is Mood.REFUSING:
            return [self.refusal]
        if self.obeys:
            self.outlets[self.interface] = state
        return []

    refusal = "% Authorization failed."

    def page(self, lines: list[str]) -> list[str]:
        """Show some lines; those of a pager that is on come only when a key is pressed."""
        if self.paged:
            self.terminal.write("\r\n".join(lines[:3]) + "\r\n --More-- ")
            self.terminal.key()
        return lines

    @staticmethod
    def head() -> list[str]:
        """Return what stands above the table."""
        return [
            "Module   Available     Used     Remaining",
            "          (Watts)     (Watts)    (Watts)",
            "------   ---------   --------   ---------",
            "1           370.0       15.4       354.6",
            "Interface Admin  Oper       Power   Device              Class Max",
            "                            (Watts)",
            "--------- ------ ---------- ------- ------------------- ----- ----",
        ]

    def row(self, name: str) -> str:
        """Return the line of a port."""
        on = self.outlets[name] == "on"
        fed = on and name == "Gi1/0/1"
        device = "Ieee PD" if fed else "n/a"
        admin, operates = "auto" if on else "off", "on" if fed else "off"
        return f"{name:9} {admin:6} {operates:10} {15.4 if fed else 0.0:<7} {device:19} {'4' if fed else 'n/a':5} 30.0"


class EdgeSwitch(Cisco):
    """Its modes are in brackets, and it asks whether to save what was changed."""

    names = ("0/1", "0/2", "0/3")
    first, second = "\r\nUser:", "Password:"
    modes = (
        "(UBNT EdgeSwitch) >",
        "(UBNT EdgeSwitch) #",
        "(UBNT EdgeSwitch) (Config)#",
        "(UBNT EdgeSwitch) (Interface 0/1)#",
    )
    refusal = "ERROR: Failed to set the operation mode"

    def command(self, line: str) -> list[str]:
        match line.split():
            case ["exit"] if self.level == 1:
                self.level = 0
                return []
            case ["logout"]:
                self.terminal.write("\r\nThe system has unsaved changes!\r\nWould you like to save them now? (y/n) ")
                assert self.terminal.key() == "n"
                raise Left
            case ["configure"] if self.level == 1:
                self.level = 2
                return []
            case ["poe", "opmode", "auto" | "shutdown" as word] if self.level == 3:
                return self.switch("on" if word == "auto" else "off")
            case ["show", "poe", "status", name] if self.level == 1 and (name == "all" or name in self.outlets):
                return self.page([*self.head(), *map(self.row, self.outlets if name == "all" else [name])])
            case ["show", "power", *_] | ["power", *_] | ["configure", "terminal"] | ["end"]:
                return [INVALID]
        return super().command(line)

    @staticmethod
    def head() -> list[str]:
        return [
            "Intf      Detection      Class   Consumed(W) Voltage(V) Current(mA) Temperature(C)",
            "--------- -------------- ------- ----------- ---------- ----------- --------------",
        ]

    def row(self, name: str) -> str:
        word = "Disabled" if self.outlets[name] == "off" else "Good" if name == "0/1" else "Searching"
        return f"{name:9} {word:14} {'Class3' if word == 'Good' else 'Unknown':7} {0.0:11} {0.0:10} {0.0:11} {40:14}"


MODELS = {"cisco_poe": Cisco, "edgeswitch_poe": EdgeSwitch}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch, over telnet."""
    with MODELS[name](mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "transport": "telnet"}
        settings |= {"username": USER, "password": PASSWORD, "enable_password": ENABLE}
        cisco = name == "cisco_poe"
        device.outlets[device.names[0]] = "on"
        bad = ["Gi1/0/1;x", "Gi", "Gi1/0/1 ", "vlan 1"] if cisco else ["5", "0/1x", "0/1/2", "0/1\r"]
        readings = {port: {"watts": 15.4 if port == "Gi1/0/1" else 0.0} for port in device.outlets} if cisco else {}
        yield Case(device, "switch", settings, [*device.outlets], bad, [PASSWORD, ENABLE], readings=readings)
