# SPDX-License-Identifier: MIT
"""PDUs by their command lines, where SNMP is shut: Sentry, Raritan PX, Eaton ePDU G3, CyberPower, Cyclades PM.

Source: the makers' command references; the dialogues that public agents for these PDUs are known to hold.
Tested: against a fake of each, over telnet and by a real sshd; from documentation, untried on a PDU.
Quirks: outlets of a Sentry are called AA1, BA12; those of all others are numbers. Where the user name and the password
are those that the PDU came with, they need not be said. Each action is a session, which is always left, and the state
is read back.

    "row3": {"driver": "raritan_cli", "ip": "192.0.2.121", "password": "secret"},
    "row4": {"driver": "sentry_cli", "ip": "192.0.2.122", "transport": "telnet", "password": "secret"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pdudaemon.drivers.commandline import CommandLine
from pdudaemon.drivers.driver import hook, numbered
from pdudaemon.drivers.readings import OutletReading, label
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.dialogue import Dialogue, Login
from pdudaemon.transports.greeting import AT_LINE, GREETINGS

Say = Callable[[str], str]
"""Says a command, and returns the answer without echo and prompt, lines ended by LF."""

_LATE = 10  # looks at a state that changes late
_NEXT_LOOK = 0.5  # seconds
_MOST = 64
_LETTERED = re.compile(r"[A-Z]{1,2}[0-9]{1,2}")


@dataclass(frozen=True)
class Row:
    """How a command line is spoken; ``{}`` is the outlet.

    ``listed`` is the question for all outlets, whose answer ``line`` finds them in: groups ``port``, ``name`` and
    ``state``; or three questions, for the number of outlets, their names and their states, which are told with bars.
    """

    account: tuple[str, str]
    prompt: str
    refusal: str
    on: str
    off: str
    listed: str | tuple[str, str, str]
    line: str = ""
    first: tuple[str, ...] = ()
    done: str = ""
    lettered: bool = False
    leave: str = "exit"


_EATON = "PDU.OutletSystem.Outlet"
_BARS = (f"get {_EATON}.Count", f"get {_EATON}[x].iName", f"get {_EATON}[x].PresentStatus.SwitchOnOff")
_WORDS = {"on": State.ON, "1": State.ON, "off": State.OFF, "0": State.OFF}


class PDUConsole(CommandLine):
    """A session for each action."""

    row: Row
    models = {
        "sentry_cli": Row(
            account=("admn", "admn"),
            prompt=r"(?:Switched CDU|Smart CDU|Sentry|(?:Switched )?PRO\d): ",
            refusal=r"^\s*((?:Invalid|Unknown|Access denied|Command failed)[^\n]*)",
            first=("set option more disabled",),
            on="on .{}",
            off="off .{}",
            done="Command successful",
            listed="status all",
            line=r"^[ \t]*\.(?P<port>[A-Z]+\d+)[ \t]+(?P<name>\S.*?)[ \t]{2,}(?:Idle |Wake )?(?P<state>On|Off)\b",
            lettered=True,
            leave="logout",
        ),
        "raritan_cli": Row(
            account=("admin", "raritan"),
            prompt=r"\[[^\r\n\]]{0,60}\] [#>] ",
            refusal=r"^\s*((?:%|Error|Invalid|Unknown|Operation failed|Permission)[^\n]*)",
            on="power outlets {} on /y",
            off="power outlets {} off /y",
            listed="show outlets",
            line=r"^Outlet (?P<port>\d+)(?: - (?P<name>[^\n]*))?:[ \t]*\n[ \t]*Power state:[ \t]*(?P<state>On|Off)",
        ),
        "eaton_cli": Row(
            account=("admin", "admin"),
            prompt=r"pdu#\d+> ?",
            refusal=r"^\s*((?:Error|Invalid|Unknown|E\d{3})[^\n]*)",
            on=f"set {_EATON}[{{}}].DelayBeforeStartup 0",
            off=f"set {_EATON}[{{}}].DelayBeforeShutdown 0",
            listed=_BARS,
            leave="quit",
        ),
        "cyberpower_cli": Row(
            account=("cyber", "cyber"),
            prompt=r"(?:CyberPower ?)?> ?",
            refusal=r"^\s*((?:Error|Invalid|Unknown|Fail)[^\n]*)",
            on="oltctrl index {} act on",
            off="oltctrl index {} act off",
            listed="oltsta show",
            line=r"^[ \t]*(?P<port>\d{1,2})[ \t]+(?P<name>\S.*?)[ \t]+(?P<state>On|Off)\b",
        ),
        "cyclades_cli": Row(
            account=("admin", "pm8"),
            prompt=r"pm> ?",
            refusal=r"^\s*((?:Error|Invalid|Unknown|Access denied)[^\n]*)",
            on="on {}",
            off="off {}",
            done="turned",
            listed="status all",
            line=r"^[ \t]*(?P<port>\d{1,2})[ \t]+(?P<name>)(?:Unlocked|Locked)[ \t]+(?P<state>ON|OFF)\b",
        ),
    }

    username = Setting(text, "", "user name of the command line, if it is not the usual one")
    password = Setting(text, "", "password of the command line, if it is not the usual one", secret=True)

    @hook
    def canonical_port(self, port: str) -> str:
        if not self.row.lettered:
            return numbered(str(int(port)) if port.isascii() and port.isdecimal() else port, _MOST)
        name = port.upper().removeprefix(".") if port.isascii() else ""
        if not _LETTERED.fullmatch(name):
            raise ValueError(f"{port!r} is not a port: letters and a number, such as AA1")
        return name

    def port_interaction(self, command: str, port_number: str | int) -> None:
        wanted = State(command)
        order = (self.row.on if wanted is State.ON else self.row.off).format(port_number)
        with self._session() as say:
            self._outlet(say, port_number)
            if self.row.done not in (said := say(order)):
                raise TransientError(f"{self.host} answered {' '.join(said.split())[:60]!r} to {order!r}")
            for _ in range(_LATE):
                if (found := self._outlet(say, port_number)) is wanted:
                    return
                self.deadline.pause(_NEXT_LOOK)
        raise TransientError(f"{self.host}: outlet {port_number} is {found} after being switched {wanted}")

    def port_status(self, port_number: str | int) -> State:
        with self._session() as say:
            return self._outlet(say, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as say:
            return self._outlets(say)

    def _outlet(self, say: Say, port: str | int) -> State:
        states = {each.port: each.state or State.UNKNOWN for each in self._outlets(say)}
        if str(port) not in states:
            raise PermanentError(f"{self.host} has no outlet {port}: it has {', '.join(states)[:200]}")
        return states[str(port)]

    def _outlets(self, say: Say) -> list[OutletReading]:
        """Return what is told of all outlets."""
        found: list[tuple[str, str | None, str]]
        if isinstance(self.row.listed, str):
            matches = re.finditer(self.row.line, say(self.row.listed), re.MULTILINE)
            found = [(each["port"], each["name"], each["state"]) for each in matches]
        else:
            count, names, states = (say(question).strip().split("|") for question in self.row.listed)
            numbers = map(str, range(1, int(count[0]) + 1)) if count[0].isdecimal() and len(count[0]) < 4 else ()
            found = [*zip(numbers, names, states, strict=False)]
            if not len(found) == len(names) == len(states):
                found = []
        if not found:
            raise TransientError(f"{self.host} does not tell the state of its outlets")
        return [
            OutletReading(port, label(name), _WORDS.get(state.strip().lower(), State.UNKNOWN))
            for port, name, state in found
        ]

    @contextmanager
    def _session(self) -> Iterator[Say]:
        prompt, usual = rf"{AT_LINE}{self.row.prompt}", self.row.account
        name = rf"{AT_LINE}(?i:user ?name|login(?: name)?) ?:"
        login = Login(name, rf"{AT_LINE}(?i:password) ?:", prompt, strangers=GREETINGS)
        account = self.username or usual[0], self.password or usual[1]
        with self.connected(login, self._log_out, account) as console:

            def say(command: str) -> str:
                console.line(command, repr(command))
                said = console.expect(repr(command), {"prompt": prompt}).before.replace("\r\n", "\n")
                said = said.partition(command)[2] if command in said else said
                if refused := re.search(self.row.refusal, said, re.MULTILINE):
                    raise PermanentError(f"{console.peer} refuses {command!r}: {refused[1].strip()[:100]}")
                return said

            for command in self.row.first:
                say(command)
            yield say

    def _log_out(self, console: Dialogue) -> None:
        console.line(self.row.leave, "the logout")
        console.expect_or_end("the logout", {})
