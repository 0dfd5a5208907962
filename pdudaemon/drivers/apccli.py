# SPDX-License-Identifier: MIT
"""APC rPDU2G (AP8xxx) with the command line of AOS 5 and later, over telnet; `apc_cli` does so over ssh.

Source: the vendor's command line guide; the dialogue that fence-agents is known to hold.
Tested: against a fake.
Quirks: older rack PDUs have menus, or a command line with other words (``on``, ``off``, ``status``); that is not this
one, and we say so and log out. Names, watts, amps and watt-hours are told outlet by outlet where the model measures
them (AP86xx), else watts of the whole.

    "192.0.2.7": {"driver": "apc8959", "username": "apc", "password": "apc", "telnetport": 23}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pdudaemon.drivers.apcconsole import COMMAND_PROMPT, MENUS, APCConsole, Console
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.dialogue import Dialogue, tidied

_RESULT = r"(E\d{3}):([^\r\n]*)[\r\n]"
_DONE = ("E000", "E001")  # success, and issued
_COMMANDS = {"on": "olOn", "off": "olOff"}
_STATUS = re.compile(
    r"^[ \t]*(\d{1,4}):(.*):[ \t]*(On|Off)[ \t]*\*?[ \t]*$", re.IGNORECASE | re.MULTILINE
)  # *: pending
_READING = re.compile(r"^[ \t]*(\d{1,4}):.*:[ \t]*([0-9.]+)[ \t]*(\w+)[ \t]*$", re.MULTILINE)
_TOTAL = re.compile(r"^[ \t]*([0-9.]+)[ \t]*(\w+)[ \t]*$", re.MULTILINE)
_UNITS = {"W": 1.0, "kW": 1000.0, "A": 1.0, "kWh": 1000.0}
_ABOUT = {
    name: re.compile(rf"^[ \t]*{name}:[ \t]*(\S[^\n]*)", re.MULTILINE) for name in ("Model Number", "Serial Number")
}
_VERSION = re.compile(r"^Application Module\b.*?^[ \t]*Version:[ \t]*v?(\S+)", re.MULTILINE | re.DOTALL)


class Commands(PDUDriver):
    """Every command is answered by a code: E000 and E001 are yes, all others no."""

    row: Console

    def outlet(self, port_number: Any) -> int:
        """Return the number of an outlet."""
        raise NotImplementedError

    def prompt(self) -> AbstractContextManager[Dialogue]:
        """Come to the prompt within ``with``, and leave the session."""
        raise NotImplementedError

    def port_interaction(self, command: str, port_number: Any) -> None:
        self._run(f"{_COMMANDS[command]} {self.outlet(port_number)}")

    def port_status(self, port_number: Any) -> State:
        outlet = self.outlet(port_number)
        said = self._run(f"olStatus {outlet}")
        states = {int(number): state for number, _, state in _STATUS.findall(said)}
        if outlet not in states:
            raise TransientError(f"no state of outlet {outlet} in the answer of {self.hostname} to olStatus")
        return State(states[outlet].lower())

    def read_outlets(self) -> list[OutletReading]:
        with self.prompt() as console:
            outlets = _STATUS.findall(_say(console, "olStatus all"))
            if not outlets:
                raise TransientError(f"no outlet in the answer of {self.hostname} to olStatus")
            watts, amps, watt_hours = _measured(console, "olReading all", "power", "current", "energy")
        return [
            OutletReading(
                str(outlet),
                label(name),
                State(state.lower()),
                watts=watts.get(outlet),
                amps=amps.get(outlet),
                watt_hours=watt_hours.get(outlet),
            )
            for outlet, name, state in ((int(number), name, state) for number, name, state in outlets)
            if 1 <= outlet <= self.row.outlets
        ]

    def read_inlets(self) -> list[InletReading]:
        with self.prompt() as console:
            watts, watt_hours = (found.get(0) for found in _measured(console, "devReading", "power", "energy"))
        if watts is None and watt_hours is None:
            return []
        return [InletReading("total", watts=watts, watt_hours=watt_hours)]

    def identify(self) -> Identity:
        said = self._run("about")
        model, serial = (found[1].strip() if (found := line.search(said)) else "" for line in _ABOUT.values())
        version = _VERSION.search(said)
        return Identity("APC", model, serial, version[1] if version else "")

    def _run(self, command: str) -> str:
        """Run a command in a session of its own; return what follows its code."""
        with self.prompt() as console:
            return _say(console, command)


class APCCommandLine(Commands, APCConsole):
    """By telnet, as the existing daemon has it."""

    models = {"apc8959": Console(24)}

    outlet = APCConsole.outlet

    @contextmanager
    def prompt(self) -> Iterator[Dialogue]:
        with (
            self.connected() as console,
            self.logged_in(console, COMMAND_PROMPT, MENUS, lambda: log_out(console), knock=True),
        ):
            yield console


def log_out(console: Dialogue) -> None:
    """Leave the session."""
    console.line("exit", "the logout")
    console.expect_or_end("the logout", {})


def _say(console: Dialogue, command: str) -> str:
    """Say a command; return what follows its code, in lines. Raises: PermanentError if it is refused."""
    console.line(command, command)
    code, words = console.expect(command, {"result": _RESULT}).match.groups()
    if code not in _DONE:
        raise PermanentError(f"{console.peer} refused {command}: {code}:{words}"[:200])
    return tidied(console.expect(command, {"prompt": COMMAND_PROMPT}).before.replace("\r", "\n"))


def _measured(console: Dialogue, command: str, *kinds: str) -> list[dict[int, float | None]]:
    """Return what a command reads of each kind, by outlet, 0 for a single value; nothing where there is no meter."""
    found: list[dict[int, float | None]] = []
    for kind in kinds:
        try:
            said = _say(console, f"{command} {kind}")
        except PermanentError:  # the model does not measure that
            break
        values = _READING.findall(said) or [(0, *value) for value in _TOTAL.findall(said)]
        found.append({int(outlet): quantity(number, _UNITS[unit]) for outlet, number, unit in values if unit in _UNITS})
    return found + [{}] * (len(kinds) - len(found))
