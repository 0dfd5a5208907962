# SPDX-License-Identifier: MIT
"""APC rPDU2G (AP8xxx) with the command line of AOS 5 and later, over telnet.

Source: the vendor's command line guide; the dialogue that fence-agents is known to hold.
Tested: against a fake.
Quirks: older rack PDUs have menus, or a command line with other words (``on``, ``off``, ``status``); that is not this
one, and we say so and log out.

    "192.0.2.7": {"driver": "apc8959", "username": "apc", "password": "apc", "telnetport": 23}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pdudaemon.drivers.apcconsole import COMMAND_PROMPT, MENUS, APCConsole, Console
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.dialogue import Dialogue

_RESULT = r"(E\d{3}):([^\r\n]*)[\r\n]"
_DONE = ("E000", "E001")  # success, and issued
_COMMANDS = {"on": "olOn", "off": "olOff"}
_STATUS = re.compile(r"^\s*(\d+):.*:\s*(On|Off)\s*$", re.IGNORECASE | re.MULTILINE)


class APCCommandLine(APCConsole):
    """Every command is answered by a code: E000 and E001 are yes, all others no."""

    models = {"apc8959": Console(24)}

    def port_interaction(self, command: str, port_number: Any) -> None:
        self._run(f"{_COMMANDS[command]} {self.outlet(port_number)}")

    def port_status(self, port_number: Any) -> State:
        outlet = self.outlet(port_number)
        said = self._run(f"olStatus {outlet}")
        states = {int(number): state for number, state in _STATUS.findall(said.replace("\r", "\n"))}
        if outlet not in states:
            raise TransientError(f"no state of outlet {outlet} in the answer of {self.hostname} to olStatus")
        return State(states[outlet].lower())

    def _run(self, command: str) -> str:
        """Run a command in a session of its own; return what follows its code."""
        with self._prompt() as console:
            console.line(command, command)
            code, words = console.expect(command, {"result": _RESULT}).match.groups()
            if code not in _DONE:
                raise PermanentError(f"{console.peer} refused {command}: {code}:{words}"[:200])
            return console.expect(command, {"prompt": COMMAND_PROMPT}).before

    @contextmanager
    def _prompt(self) -> Iterator[Dialogue]:
        with self.connected() as console:

            def log_out() -> None:
                console.line("exit", "the logout")
                console.expect_or_end("the logout", {})

            with self.logged_in(console, COMMAND_PROMPT, MENUS, log_out, knock=True):
                yield console
