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

from pdudaemon.drivers.driver import Numbered, PDUDriver, hook
from pdudaemon.drivers.readings import Identity, OutletReading, label, stated
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting
from pdudaemon.transports import command as programs

_PORTS = 14
_FOLDERS = ("/sbin", "/usr/sbin", "/usr/local/sbin")
_BLOCK = re.compile(r"^(Current|New) status for hub ", re.MULTILINE)
_PORT = re.compile(r"^\s*Port (\d+): *[0-9a-f]{4}([^\[\r\n]*)", re.MULTILINE | re.IGNORECASE)
_HUB = re.compile(r"^Current status for hub [^\[\r\n]*\[[0-9a-f]{4}:[0-9a-f]{4} ([^,\]\r\n]+)", re.MULTILINE)
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

    @hook
    def lacks(self) -> str:
        return programs.missing("uhubctl", _FOLDERS)

    def port_interaction(self, command: str, port_number: int) -> None:
        found = self._state(self._run("--ports", str(port_number), "--action", command), port_number)
        if found != command:
            raise TransientError(f"port {port_number} of hub {self.location} is still {found} after {command}")

    def port_status(self, port_number: int) -> State:
        return self._state(self._run("--ports", str(port_number)), port_number)

    def read_outlets(self) -> list[OutletReading]:
        said = self._run()
        states = self._states(said)
        if not states:
            raise TransientError(f"uhubctl could not read hub {self.location}: {_complaint(said)}")
        return stated({port: states[port] for port in sorted(states)})

    def identify(self) -> Identity:
        found = _HUB.search(self._run())
        return Identity(model=label(found[1]) or "" if found else "")

    def _run(self, *which: str) -> str:
        """Run uhubctl, for some ports if they are named; return what it printed."""
        if lacking := self.lacks():
            raise PermanentError(lacking)
        program = shutil.which("uhubctl", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS]))
        assert program is not None
        words = [program, "--location", self.location, *which]
        output = programs.run(words, self.deadline, hold=self.lock_fd)
        if output.status != 0:
            why = _complaint(output.text)
            kind = PermanentError if _FOR_GOOD.search(why) else TransientError
            raise kind(f"uhubctl exited with {output.status}: {why}")
        return output.text

    def _state(self, said: str, port: int) -> State:
        states = self._states(said)
        if port not in states and _TROUBLE.search(said):
            raise TransientError(f"uhubctl could not read hub {self.location}: {_complaint(said)}")
        if port not in states:
            raise PermanentError(f"hub {self.location} has no port {port}")
        return states[port]

    def _states(self, said: str) -> dict[int, State]:
        """Return the states by port that were printed last."""
        _, *parts = _BLOCK.split(said)
        if not parts:
            raise TransientError(f"uhubctl printed no status of hub {self.location}")
        blocks = [*zip(parts[::2], parts[1::2], strict=True)]
        flags: dict[int, list[list[str]]] = {}
        for when, block in blocks:
            if when == blocks[-1][0]:  # after an action, the states before it do not count
                for port, found in _PORT.findall(block):
                    flags.setdefault(int(port), []).append(found.split())
        return {port: _meant(hubs) for port, hubs in flags.items()}


def _meant(hubs: list[list[str]]) -> State:
    """Return the state of a port by its flags in one or two hubs."""
    if any("power" in words for words in hubs):
        return State.ON
    return State.OFF if all("off" in words for words in hubs) else State.UNKNOWN
