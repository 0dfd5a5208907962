# SPDX-License-Identifier: MIT
"""PDUs by their command lines: Sentry, Raritan PX, Eaton G3, CyberPower, Cyclades PM, WTI, BayTech RPC, Avocent PM.

Source: the makers' command references; the dialogues that public agents for these PDUs are known to hold.
Tested: against a fake of each, over telnet and by a real sshd; from documentation, untried on a PDU. At second hand is
all of a Sentry4 (PRO1, PRO2) and an Avocent, and how a Sentry, an Eaton and a CyberPower tell what outlets draw.
Quirks: outlets of a Sentry are called AA1, BA12, plugs of a WTI perhaps A1, those of an Avocent are targets with names;
those of all others are numbers. Where the user name and the password are those that the PDU came with, they need not be
said; a WTI or a BayTech may ask for a password alone. Each action is a session, which is always left, and the state is
read back. Watts, volts and amps are told as far as a model measures outlets; of a BayTech, amps of the whole.

    "row3": {"driver": "raritan_cli", "ip": "192.0.2.121", "password": "secret"},
    "row4": {"driver": "sentry_cli", "ip": "192.0.2.122", "transport": "telnet", "password": "secret"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pdudaemon.drivers.commandline import CommandLine
from pdudaemon.drivers.consolerow import ROWS, Row
from pdudaemon.drivers.driver import hook, numbered
from pdudaemon.drivers.readings import InletReading, OutletReading, label, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice, text
from pdudaemon.transports.dialogue import Dialogue, Login, tidied
from pdudaemon.transports.greeting import AT_LINE, GREETINGS
from pdudaemon.transports.tcp import LIMIT

Say = Callable[[str], str]
"""Says a command, and returns the answer without echo and prompt, lines ended by LF."""

_LATE = 10  # looks at a state that changes late
_NEXT_LOOK = 0.5  # seconds
_MOST = 64
_WORDS = {"on": State.ON, "1": State.ON, "off": State.OFF, "0": State.OFF}
_NAMELESS = {"a console that asks for a password alone": rf"{AT_LINE}(?i:(?:enter )?password) ?[:>]"}
_UNNAMED = "(undefined)"


class PDUConsole(CommandLine):
    """A session for each action."""

    row: Row
    models = {name: row for name, row in ROWS.items() if not row.telnet}

    username = Setting(text, "", "user name of the command line, if it is not the usual one")
    password = Setting(text, "", "password of the command line, if it is not the usual one", secret=True)

    @hook
    def canonical_port(self, port: str) -> str:
        ascii_port = port if port.isascii() else ""
        number = str(int(ascii_port)) if ascii_port.isdecimal() and len(port) < 10 else ""
        if not self.row.port:
            return numbered(number or port, _MOST)
        name = number or self.row.spelled(ascii_port)
        if not re.fullmatch(self.row.port, name):
            raise ValueError(f"{port!r} is not a port: {self.row.says}")
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
            outlets = self._outlets(say)
            measured = self._measured(say, [each.port for each in outlets])
        return [replace(each, **measured.get(each.port, {})) for each in outlets]

    def read_inlets(self) -> list[InletReading]:
        question, quantities = self.row.total
        if not question:
            return []
        with self._session() as say:
            found = _quantities(say(question), quantities)
        return [InletReading("total", **found)] if found else []

    def _outlet(self, say: Say, port: str | int) -> State:
        states = {each.port: each.state or State.UNKNOWN for each in self._outlets(say)}
        if str(port) not in states:
            raise PermanentError(f"{self.host} has no outlet {port}: it has {', '.join(states)[:200]}")
        return states[str(port)]

    def _outlets(self, say: Say) -> list[OutletReading]:
        """Return what is told of all outlets but what they draw."""
        found: list[tuple[str, str | None, State]]
        if isinstance(self.row.listed, str):
            matches = re.finditer(self.row.line, say(self.row.listed), re.MULTILINE)
            found = [(each["port"], each["name"], _state(each)) for each in matches]
        else:
            count, names, states = (say(question).strip().split("|") for question in self.row.listed)
            numbers = map(str, range(1, int(count[0]) + 1)) if count[0].isdecimal() and len(count[0]) < 4 else ()
            found = [*zip(numbers, names, (_WORDS.get(each.strip(), State.UNKNOWN) for each in states), strict=False)]
            if not len(found) == len(names) == len(states):
                found = []
        if not found:
            raise TransientError(f"{self.host} does not tell the state of its outlets")
        told = {
            port: OutletReading(port, None if name == _UNNAMED else label(name), state) for port, name, state in found
        }
        return [*told.values()]

    def _measured(self, say: Say, ports: list[str]) -> dict[str, dict[str, Any]]:
        """Return what outlets draw, by port and quantity; nothing of a PDU that does not measure it."""
        found: dict[str, dict[str, Any]] = {}
        try:
            if self.row.meters:
                said = say(self.row.meters)
                pieces = [*re.finditer(self.row.piece, said, re.MULTILINE)]
                ends = [*(piece.start() for piece in pieces[1:]), len(said)]
                for piece, end in zip(pieces, ends, strict=False):
                    found[piece["port"]] = _quantities(said[piece.start() : end], self.row.quantities)
            for name, question in self.row.barred.items():
                values = say(question).strip().split("|")
                for port, value in zip(ports, values, strict=False):
                    if len(values) == len(ports) and (number := quantity(value)) is not None and number >= 0:
                        found.setdefault(port, {})[name] = number
        except PermanentError:  # refused: it has no meters
            pass
        return found

    @contextmanager
    def _session(self) -> Iterator[Say]:
        prompt, name, menu = (rf"{AT_LINE}(?:{part})" for part in (self.row.prompt, self.row.name, self.row.menu[0]))
        answers = {rf"{AT_LINE}{pause}": answer for pause, answer in self.row.pauses.items()}
        ready = "|".join([prompt, *([menu] if self.row.menu[0] else [])])
        login = Login(
            name,
            rf"{AT_LINE}{self.row.password}",
            ready,
            strangers=GREETINGS if self.row.nameless else {**GREETINGS, **_NAMELESS},
            nameless=self.row.nameless,
        )
        usual = self.row.account
        account = self.username or usual[0], self.password or usual[1]
        with self.connected(login, self._log_out, account, again=self.row.again) as console:
            if self.row.menu[0] and re.fullmatch(menu, console.shown):
                console.line(self.row.menu[1], "the menu")
                console.expect("the menu", {"prompt": prompt})

            def say(command: str) -> str:
                said = _said(console, command, prompt, answers)
                if refused := re.search(self.row.refusal, said, re.MULTILINE):
                    raise PermanentError(f"{console.peer} refuses {command!r}: {refused[1].strip()[:100]}")
                return said

            for command in self.row.first:
                say(command)
            yield say

    def _log_out(self, console: Dialogue) -> None:
        console.line(self.row.leave, "the logout")
        console.expect_or_end("the logout", {})


class TelnetConsole(PDUConsole):
    """One that has no ssh of its own."""

    models = {name: row for name, row in ROWS.items() if row.telnet}

    transport = Setting(choice("telnet", "ssh"), "telnet", "how the command line is reached")


def _said(console: Dialogue, command: str, prompt: str, answers: Mapping[str, str]) -> str:
    """Say a command; return its answer, of all its pages. Raises: TransientError if it has no end."""
    step, said = repr(command), ""
    console.line(command, step)
    while len(said) <= LIMIT:
        seen = console.expect(step, {"prompt": prompt, **{pause: pause for pause in answers}})
        said += seen.before
        if seen.name == "prompt":
            return tidied(said.partition(command)[2] if command in said else said)
        console.line(answers[seen.name], step)
        said += "\n"
    raise TransientError(f"{console.peer} sends too much at {step}")


def _state(told: re.Match[str]) -> State:
    words = told.groupdict()
    word = words["state"].lower().removeprefix("idle ").removeprefix("wake ")
    return State.UNKNOWN if words.get("moving") else _WORDS.get(word, State.UNKNOWN)


def _quantities(said: str, patterns: Mapping[str, str]) -> dict[str, Any]:
    """Return what is measured, by quantity. A number may have a k, for a thousand, after it."""
    found: dict[str, Any] = {}
    for name, pattern in patterns.items():
        if (told := re.search(pattern, said)) is not None:
            number = quantity(told[1].rstrip("k "), 1000.0 if told[1].endswith("k") else 1.0)
            if number is not None:
                found[name] = number
    return found
