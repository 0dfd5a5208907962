# SPDX-License-Identifier: MIT
"""PoE ports of Cisco Catalyst switches (IOS, IOS XE) and Ubiquiti EdgeSwitches, by their command lines.

Source: the makers' command references; the dialogues that public device files for these switches are known to hold.
Tested: against a fake of each, over telnet and by a real sshd; how the tables look is from documentation, untried.
Quirks: a port is an interface, ``Gi1/0/5`` or ``0/5``; one of Cisco may be spelled out. Off is ``power inline never``
or ``poe opmode shutdown``, in the running configuration only: after a restart of the switch it is what was saved. A
user without privileges needs ``enable_password``. Watts are told by Cisco alone.

    "core": {"driver": "cisco_poe", "ip": "192.0.2.96", "username": "pdu", "password": "secret"},
    "edge": {"driver": "edgeswitch_poe", "ip": "192.0.2.97", "username": "pdu", "password": "secret",
             "enable_password": "secret", "transport": "telnet"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pdudaemon.drivers.commandline import CommandLine
from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.network import login
from pdudaemon.drivers.readings import OutletReading, quantity
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.dialogue import PATIENCE, Dialogue, Login, tidied
from pdudaemon.transports.greeting import AT_LINE


@dataclass(frozen=True)
class Row:
    """How a command line is spoken. Patterns of ``line`` have groups for port, state and perhaps watts.

    A state that is none of ``off`` is on, as far as it is one of ``words``.
    """

    port: str
    says: str
    spelled: Callable[[str], str]
    name: str
    prompt: str
    refusal: str
    on: str
    off: str
    one: str
    every: str
    line: str
    words: str
    without_power: str
    configure: str
    back: tuple[str, ...]
    leave: tuple[str, ...]


def _cisco(port: str) -> str:
    """Return an interface as the table has it: ``GigabitEthernet1/0/5`` is ``Gi1/0/5``."""
    found = re.fullmatch(r"([A-Za-z-]{2,25})([0-9/]+)", port)
    return f"{found[1][:2].capitalize()}{found[2]}" if found else port


_CISCO = Row(
    port=r"(?:Et|Fa|Gi|Tw|Fi|Te)[0-9]{1,3}(?:/[0-9]{1,3}){0,3}",
    says="the name of an interface, such as Gi1/0/5",
    spelled=_cisco,
    name=rf"{AT_LINE}Username:",
    prompt=rf"{AT_LINE}[\w.-]{{1,63}}(?:\([\w./-]+\))?[>#]",
    refusal=r"^% ?(\S[^\r\n]*)",
    on="power inline auto",
    off="power inline never",
    one="show power inline {}",
    every="show power inline",
    line=r"^(?P<port>[A-Z][a-z][0-9/]+)\s+(?P<state>\w+)\s+\S+\s+(?P<watts>[0-9.]+)?",
    words=r"auto|static|consumption|off|never",
    without_power=r"off|never",
    configure="configure terminal",
    back=("end",),
    leave=("end", "exit", "exit"),
)
_EDGESWITCH = Row(
    port=r"[0-9]{1,2}/[0-9]{1,2}",
    says="the name of an interface, such as 0/5",
    spelled=str,
    name=rf"{AT_LINE}User(?: ?name)?:",
    prompt=rf"{AT_LINE}\([^\r\n()]{{1,60}}\) ?(?:\([^\r\n()]+\) ?)?[>#]",
    refusal=r"^(?:% ?|ERROR: ?|An invalid )(\S[^\r\n]*)",
    on="poe opmode auto",
    off="poe opmode shutdown",
    one="show poe status {}",
    every="show poe status all",
    line=r"^(?P<port>[0-9]+/[0-9]+)\s.*?\b(?P<state>Good|Searching|Disabled|Open|Short|Fault|Delivering|Requesting)\b",
    words=r".*",
    without_power=r"disabled",
    configure="configure",
    back=("exit", "exit"),
    leave=("exit", "exit", "exit", "logout"),
)


class SwitchConsole(CommandLine):
    """A session for each action, which is always left."""

    row: Row
    models = {"cisco_poe": _CISCO, "edgeswitch_poe": _EDGESWITCH}

    username, password = login("admin", "", "the command line")
    enable_password = Setting(text, "", "password for `enable`, if the user needs that", secret=True)

    @hook
    def canonical_port(self, port: str) -> str:
        name = self.row.spelled(port) if port.isascii() else ""
        if not re.fullmatch(self.row.port, name):
            raise ValueError(f"{port!r} is not a port: {self.row.says}")
        return name

    def port_interaction(self, command: str, port_number: str | int) -> None:
        order = self.row.on if command == "on" else self.row.off
        with self._session() as say:
            for each in (self.row.configure, f"interface {port_number}", order, *self.row.back):
                say(each)
            state = self._read(say(self.row.one.format(port_number))).get(str(port_number))
        if state is None or state.state != command:
            told = "not told" if state is None else f"still {state.state}"
            raise TransientError(f"{self.host}: the state of {port_number} is {told} after {order!r}")

    def port_status(self, port_number: str | int) -> State:
        with self._session() as say:
            found = self._read(say(self.row.one.format(port_number))).get(str(port_number))
        if found is None:
            raise TransientError(f"{self.host} does not tell the state of {port_number}")
        return found.state or State.UNKNOWN

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as say:
            found = self._read(say(self.row.every))
        if not found:
            raise TransientError(f"{self.host} tells of no PoE port")
        return [*found.values()]

    def _read(self, said: str) -> dict[str, OutletReading]:
        """Return what a table says, by port."""
        found: dict[str, OutletReading] = {}
        for line in re.finditer(self.row.line, said, re.MULTILINE):
            words = line.groupdict()
            port, word = words["port"], words["state"].lower()
            if re.fullmatch(self.row.port, port) and re.fullmatch(self.row.words, word):
                state = State.OFF if re.fullmatch(self.row.without_power, word) else State.ON
                found[port] = OutletReading(port, None, state, watts=quantity(words.get("watts")))
        return found

    @contextmanager
    def _session(self) -> Iterator[Callable[[str], str]]:
        """Log in, with privileges; yield what says a command and returns the answer; log out."""
        with self.connected(self._login(), self._log_out) as console:

            def say(command: str) -> str:
                console.line(command, repr(command))
                said = _lines(console.expect(repr(command), {"prompt": self.row.prompt}).before)
                if refused := re.search(self.row.refusal, said, re.MULTILINE):
                    raise PermanentError(f"{console.peer} refuses {command!r}: {refused[1].strip()[:100]}")
                return said

            self._enable(console)
            say("terminal length 0")
            yield say

    def _enable(self, console: Dialogue) -> None:
        """Become privileged, unless the prompt says that we are. Raises: PermanentError if that is refused in words."""
        patterns = {"password": r"[Pp]assword:", "prompt": self.row.prompt}
        console.line("", "the prompt")
        if console.expect("the prompt", patterns).match[0].endswith("#"):
            return
        console.line("enable", "enable")
        refused = f"{console.peer} refuses enable: is the enable_password right?"
        told, silence = False, None
        try:
            while not (seen := console.expect("enable", patterns, silence)).match[0].endswith("#"):
                if seen.name == "password" and not told:
                    console.line(self.enable_password, "enable", secret=True)
                    told, silence = True, None
                elif seen.name == "password" or re.search(self.row.refusal, _lines(seen.before), re.MULTILINE):
                    raise PermanentError(refused)
                else:  # of a slow console, one prompt more may still be to come for a line before
                    silence = PATIENCE
        except DeviceTimeout:
            if silence is None:
                raise
            raise TransientError(refused) from None

    def _login(self) -> Login:
        return Login(name=self.row.name, password=rf"{AT_LINE}[Pp]assword:", ready=self.row.prompt)

    def _log_out(self, console: Dialogue) -> None:
        step = "the logout"
        patterns = {"prompt": self.row.prompt, "unsaved": r"\(y/n\)"}
        for word in self.row.leave:
            console.line(word, step)
            while (seen := console.expect_or_end(step, patterns)) is not None and seen.name == "unsaved":
                console.line("n", step)
            if seen is None:
                return


def _lines(shown: str) -> str:
    return tidied(shown.replace("\r", "\n"))
