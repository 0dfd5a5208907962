# SPDX-License-Identifier: MIT
"""APC's menus over telnet: a MasterSwitch or Switched Rack PDU of each kind, one session at a time.

The entry after the last outlet stands for all of them, and works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.devices.base.console import Console, Left
from tests.devices.base.device import Case, Mood

ESC = "\x1b"
PAGE = 22  # lines
MAIN_END = ["", "<ESC>- Main Menu, <ENTER>- Refresh"]


class APC(Console):
    """What APC's consoles share: the login, and how they are reached."""

    username = "apc"
    password = "apc-secret"
    identity: tuple[str, ...] = ()

    def log_in(self) -> None:
        while True:
            self.terminal.write("\r\nUser Name : ")
            name = self.terminal.line()
            if not name:
                continue
            self.terminal.write("\r\nPassword  : ")
            password = self.terminal.line(stars=True)
            if (name, password) == (self.username, self.password) and self.mood is not Mood.WRONG_PASSWORD:
                return

    def name(self, number: int) -> str:
        """Return what an outlet is called."""
        return f"Outlet {number}"

    @contextmanager
    def case(self, name: str) -> Iterator[Case]:
        """Start it and say how it is reached."""
        last = len(self.outlets)
        with self:
            settings = {"driver": name, "telnetport": self.port, "username": self.username, "password": self.password}
            bad = ["0", str(last + 1), str(last + 2), "-1", "1;4", "x"]
            names = {port: self.name(int(port)) for port in self.outlets}
            ports = [*self.outlets]
            yield Case(self, "127.0.0.1", settings, ports, bad, [self.password], names, identity=self.identity)


@dataclass(frozen=True)
class Personality:
    """What differs between models and firmwares. ``way``: (title, entries, which of them leads on) to the outlets."""

    outlets: int
    manager: str = "Device Manager"
    way: tuple[tuple[str, tuple[str, ...], int], ...] = ()
    list_title: str = "Outlet Control/Configuration"
    list_states: bool = True
    mark: str = ""
    page: tuple[str, ...] = ("Control Outlet {0}", "Configure Outlet {0}")
    page_pause: bool = False
    actions: tuple[str, ...] = (
        "Immediate On",
        "Immediate Off",
        "Immediate Reboot",
        "Delayed On",
        "Delayed Off",
        "Delayed Reboot",
        "Cancel",
    )
    action_title: str = ""
    done: str = "Command successfully issued."
    negotiation: bytes = b""
    names: dict[int, str] = field(default_factory=dict)


WAY_2 = (
    (
        "Device Manager",
        ("Phase Monitor/Configuration", "Outlet Restriction Configuration", "Outlet Control/Configuration"),
        3,
    ),
)
WAY_3 = (
    ("Device Manager", ("Phase Management", "Outlet Management"), 2),
    ("Outlet Management", ("Outlet Control/Configuration", "Outlet Restriction"), 1),
)
ECHO_AND_GO_AHEAD = b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x03\xff\xfd\x18"
VERSION_2 = Personality(8, way=WAY_2)
VERSION_3 = Personality(8, way=WAY_3, page=("Control Outlet", "Configure Outlet"), negotiation=ECHO_AND_GO_AHEAD)
LARGE_3 = Personality(24, way=WAY_3, page=("Control Outlet", "Configure Outlet"), negotiation=ECHO_AND_GO_AHEAD)
NO_PAGE = Personality(24, way=WAY_3, page=(), negotiation=ECHO_AND_GO_AHEAD)
MASTERSWITCH = Personality(
    8,
    list_title="Device Manager",
    page=("Control Outlet", "Configure Outlet"),
    page_pause=True,
    action_title="Control Outlet {0}",
)
MASTERSWITCH_OTHER = Personality(
    8,
    list_title="Device Manager",
    page=("Outlet Control/Configuration", "Outlet Restriction"),
    action_title="Control Outlet {0}",
    done="Success",
)
STATELESS = Personality(
    8,
    manager="Outlet Manager",
    list_title="Outlet Manager",
    list_states=False,
    page=("Control of Outlet", "Configuration of Outlet"),
    actions=("Turn Outlet On", "Turn Outlet Off", "Reboot Outlet"),
    done="Outlet state changed successfully!",
)

PERSONALITIES = {
    "apc7900": VERSION_2,
    "apc7920": VERSION_2,
    "apc7921": VERSION_3,
    "apc7932": NO_PAGE,
    "apc7952": LARGE_3,
    "apc9210": STATELESS,
    "apc9218": MASTERSWITCH,
    "ap9218": MASTERSWITCH_OTHER,
    "apc9606": MASTERSWITCH_OTHER,
    "ap9606": MASTERSWITCH,
}
BANNER = """\
American Power Conversion               Network Management Card AOS      v3.7.3\r
(c) Copyright 2009 All Rights Reserved  Rack PDU APP                     v3.7.4"""
NAMES = [*PERSONALITIES]
ALIKE = ["apc7900", "apc7920", "apc7952", "ap9606", "apc9606"]  # each has the menus of another, or longer ones
MOODS = [*Mood]


class APCMenu(APC):
    """The menus. A screen shows itself, takes a line, and may show another; ESC ends it."""

    def __init__(self, personality: Personality, mood: Mood = Mood.WELL) -> None:
        super().__init__(personality.outlets, mood)
        self.personality = personality
        self.negotiation = personality.negotiation
        self.banner = "American Power Conversion"

    def session(self) -> None:
        self.terminal.write(f"\r\n{self.banner}\r\n\r\n")
        entries = [self.personality.manager, "Network", "System", "Logout"]
        main = [f"{number}- {entry}" for number, entry in enumerate(entries, 1)] + MAIN_END
        while True:
            self.show("Control Console", main)
            line = self.terminal.line(keys=ESC)
            if line == "4":
                raise Left
            if line == "1":
                self.way(0)

    def way(self, depth: int) -> None:
        if depth == len(self.personality.way):
            self.outlet_list()
            return
        title, entries, leads_on = self.personality.way[depth]
        while (line := self.menu(title, entries)) != ESC:
            if line == str(leads_on):
                self.way(depth + 1)
            elif line in map(str, range(1, len(entries) + 1)):
                self.menu(entries[int(line) - 1], ["Something Else"])

    def outlet_list(self) -> None:
        last = self.personality.outlets
        while True:
            lines = [f"{int(port):2}- {self.name(int(port))}" for port in self.outlets]
            if self.personality.list_states:
                states = self.outlets.values()
                lines = [
                    f"{line}      {state.upper()}{self.personality.mark}"
                    for line, state in zip(lines, states, strict=True)
                ]
            self.show(self.personality.list_title, [*lines, f"{last + 1:2}- Master Control/Configuration"])
            line = self.terminal.line(keys=ESC)
            if line == ESC:
                return
            if line in self.outlets:
                self.page([line])
            elif line == str(last + 1):
                self.page([*self.outlets])

    def page(self, ports: list[str]) -> None:
        if not self.personality.page:
            self.action_menu(ports)
            return
        entries = [entry.format(ports[0]) for entry in self.personality.page]
        while (line := self.menu("", entries)) != ESC:
            if line == "1":
                if self.personality.page_pause:
                    self.pause()
                self.action_menu(ports)

    def action_menu(self, ports: list[str]) -> None:
        states = [f"{port}:{state.upper()}" for port, state in self.outlets.items()] if len(ports) > 1 else []
        title = self.personality.action_title.format(ports[0])
        while (line := self.menu(title, self.personality.actions, states)) != ESC:
            if line in map(str, range(1, len(self.personality.actions) + 1)):
                self.confirm(self.personality.actions[int(line) - 1], ports)

    def confirm(self, action: str, ports: list[str]) -> None:
        which = "all outlets" if len(ports) > 1 else f"outlet {ports[0]}"
        self.terminal.write(f"{action}, {which}.\r\nEnter 'YES' to continue or <ENTER> to cancel : ")
        if self.terminal.line() != "YES":
            return
        if self.mood is Mood.REFUSING:
            self.terminal.write("This outlet is restricted.\r\n\r\n")
        else:
            state = action.split()[-1].lower()
            self.outlets.update({port: state for port in ports if state in ("on", "off")})
            self.terminal.write(f"{self.personality.done}\r\n\r\n")
        self.pause()

    def name(self, number: int) -> str:
        return self.personality.names.get(number, f"Outlet {number}")

    def menu(self, title: str, entries: Any, before: list[str] | None = None) -> str:
        """Show some entries; return the line, or ESC, that comes."""
        self.show(title, [*(before or []), *(f"{number}- {entry}" for number, entry in enumerate(entries, 1))])
        return self.terminal.line(keys=ESC)

    def show(self, title: str, lines: list[str]) -> None:
        lines = [*([f"------- {title} ----"] if title else []), *lines]
        for start in range(0, len(lines), PAGE):
            if start:
                self.pause()
            self.terminal.write("".join(f"{line}\r\n" for line in lines[start : start + PAGE]))
        self.terminal.write("> ")

    def pause(self) -> None:
        self.terminal.write("Press <ENTER> to continue...")
        self.terminal.line()


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    device = APCMenu(PERSONALITIES[name], mood)
    device.banner, device.identity = BANNER, ("APC", "", "", "3.7.4")
    with device.case(name) as made:
        yield made
