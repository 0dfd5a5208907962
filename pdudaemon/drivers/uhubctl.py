# SPDX-License-Identifier: MIT
"""USB hubs that can switch the power of each port, by the program ``uhubctl``.

Source: uhubctl's documentation and messages (github.com/mvp/uhubctl).
Tested: against a program that stands in for it; the messages about a missing hub with uhubctl 2.5.0 and no hub.
Quirks: uhubctl ends with 0 even if the hub has no such port or does not obey, so the states that it prints count. The
hub of USB 2 and that of USB 3 which are one device are switched together: the port is on if it is on in one of them.

    "hub": {"driver": "uhubctl", "location": "1-2.4.4"}
"""

from __future__ import annotations

import os
import re
import shutil

from pdudaemon.drivers.driver import Numbered, PDUDriver
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting
from pdudaemon.transports import command as programs

_PORTS = 14
_FOLDERS = ("/sbin", "/usr/sbin", "/usr/local/sbin")
_BLOCK = re.compile(r"^(Current|New) status for hub ", re.MULTILINE)
_STATE = r"^\s*Port {}: *[0-9a-f]{{4}}([^\[\r\n]*)"
_TROUBLE = re.compile(r"cannot|failed|permission|bad port|option|error", re.IGNORECASE)
_FOR_GOOD = re.compile(r"permission|bad port|option|error: changing", re.IGNORECASE)


def _complaint(said: str) -> str:
    """Return the line that tells most of why uhubctl failed."""
    lines = [line.strip()[:200] for line in said.splitlines() if line.strip()] or ["it printed nothing"]
    return next(filter(_TROUBLE.search, lines), lines[0])


def _location(value: object) -> str:
    if not re.fullmatch(r"[0-9]+(-[0-9]+(\.[0-9]+)*)?", str(value)):
        raise ValueError(f"{value!r} is not the location of a hub, such as 1-2.4.4")
    return str(value)


class UHubCtl(PDUDriver):
    """One hub."""

    models = {"uhubctl": None}
    ports = Numbered(_PORTS, at_most=True)

    location = Setting(
        Kind("location of a hub", _location), "", "where the hub is, as `uhubctl` prints it (`1-2.4.4`)", required=True
    )

    def port_interaction(self, command: str, port_number: int) -> None:
        found = self._run(port_number, "--action", command)
        if found != command:
            raise TransientError(f"port {port_number} of hub {self.location} is still {found} after {command}")

    def port_status(self, port_number: int) -> State:
        return self._run(port_number)

    def _run(self, port: int, *action: str) -> State:
        """Run uhubctl; return the state of the port that it printed last."""
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS])
        program = shutil.which("uhubctl", path=path)
        if program is None:
            raise PermanentError("the program uhubctl, which this driver needs, is not installed")
        words = [program, "--location", self.location, "--ports", str(port), *action]
        output = programs.run(words, self.deadline, hold=self.lock_fd)
        if output.status != 0:
            why = _complaint(output.text)
            kind = PermanentError if _FOR_GOOD.search(why) else TransientError
            raise kind(f"uhubctl exited with {output.status}: {why}")
        return self._state(output.text, port)

    def _state(self, said: str, port: int) -> State:
        _, *parts = _BLOCK.split(said)
        if not parts:
            raise TransientError(f"uhubctl printed no status of hub {self.location}")
        blocks = [*zip(parts[::2], parts[1::2], strict=True)]
        flags = [
            found.split()
            for when, block in blocks
            if when == blocks[-1][0]  # after an action, the states before it do not count
            for found in re.findall(_STATE.format(port), block, re.MULTILINE | re.IGNORECASE)
        ]
        if not flags and _TROUBLE.search(said):
            raise TransientError(f"uhubctl could not read hub {self.location}: {_complaint(said)}")
        if not flags:
            raise PermanentError(f"hub {self.location} has no port {port}")
        if any("power" in words for words in flags):
            return State.ON
        return State.OFF if all("off" in words for words in flags) else State.UNKNOWN
