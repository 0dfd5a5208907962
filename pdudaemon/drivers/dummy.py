# SPDX-License-Identifier: MIT
"""A PDU that is not there: the demonstration and the tests live on it.

Its outlets are in memory, all off at the start, or in a file if one is given, which then outlives the daemon and can
be looked at and changed from outside.

Source: ours. Tested: always.

    "pdu01": {"driver": "dummy", "outlets": 8, "names": {"1": "router"}, "watts": {"1": 12.5}},
    "moody": {"driver": "dummy", "slow": 3, "flaky": 2, "retries": 5, "retrydelay": 1}
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdudaemon.drivers.driver import Numbered, PDUDriver, hook
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, boolean, integer, seconds, text


def _names(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("is not an object of names by port")
    return {port: text.convert(name) for port, name in value.items()}


def _watts(value: object) -> dict[str, float]:
    found = {port: quantity(each) for port, each in value.items()} if isinstance(value, dict) else {"": None}
    if None in found.values():
        raise ValueError("is not an object of watts by port")
    return {port: watts for port, watts in found.items() if watts is not None}


_NAMES = Kind("object of texts by port", _names, steady=True)
_WATTS = Kind("object of numbers by port", _watts, steady=True)


class Dummy(PDUDriver):
    """Outlets 1 to ``outlets``, which do as they are told unless the settings give the device a mood."""

    models = {"dummy": None}

    outlets = Setting(integer(1, 10000), 8, "number of outlets, counted from 1")
    ports = Numbered(outlets)
    file = Setting(text, "", "keep the outlets in this file (JSON: port to `on` or `off`) instead of in memory")
    slow = Setting(seconds(0, 3600), 0.0, "how long the device takes for each action", unit="s")
    deaf = Setting(boolean, False, "the device never answers")
    flaky = Setting(integer(0, 1000), 0, "of each so many + 1 actions in turn, only the last succeeds")
    refuse = Setting(text, "", "the device refuses every action with these words")
    names = Setting(_NAMES, {}, 'what the device calls its outlets, by port: `{"1": "router"}`')
    watts = Setting(_WATTS, {}, 'what outlets draw while they are on, by port: `{"1": 12.5}`; others have no meter')

    stable_names = True

    @hook
    def faults(self) -> dict[str, str]:
        return {
            key: f"there is no port {port!r}"
            for key, given in (("names", self.names), ("watts", self.watts))
            for port in given
            if port not in map(str, range(1, self.outlets + 1))
        }

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._memory: dict[str, str] = {}
        self._actions = 0

    def port_interaction(self, command: str, port_number: int) -> None:
        outlets = self._read()
        self._actions += 1
        if self.flaky and self._actions % (self.flaky + 1):
            raise TransientError(f"flaky: action {self._actions} failed")
        outlets[str(port_number)] = command
        if self.file:
            self._write(outlets)

    def port_status(self, port_number: int) -> State:
        return State(self._read().get(str(port_number), State.OFF))

    def read_outlets(self) -> list[OutletReading]:
        return [
            OutletReading(port, self.names.get(port), state, watts=self._drawn(port, state))
            for port, state in self._states().items()
        ]

    def read_inlets(self) -> list[InletReading]:
        if not self.watts:
            return []
        drawn = (self._drawn(port, state) or 0.0 for port, state in self._states().items())
        return [InletReading("total", watts=sum(drawn))]

    def identify(self) -> Identity:
        return Identity("pdudaemon", "dummy")

    def _states(self) -> dict[str, State]:
        known = self._read()
        return {port: State(known.get(port, State.OFF)) for port in map(str, range(1, self.outlets + 1))}

    def _drawn(self, port: str, state: State) -> float | None:
        watts = self.watts.get(port)
        return watts if watts is None or state is State.ON else 0.0

    def _read(self) -> dict[str, str]:
        """Have the device take its time, and return what its outlets are."""
        if self.deaf or (self.slow and self.slow > self.deadline.remaining()):
            self.deadline.pause(math.inf)
            raise self.deadline.passed()
        if self.slow:
            self.deadline.pause(self.slow)
        if self.refuse:
            raise PermanentError(self.refuse)
        if not self.file:
            return self._memory
        try:
            outlets = json.loads(Path(self.file).read_text())
            return {port: State(state) for port, state in outlets.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise PermanentError(f"the outlets cannot be read from {self.file}: {error}") from None

    def _write(self, outlets: dict[str, str]) -> None:
        new = Path(f"{self.file}.new")
        try:
            new.write_text(json.dumps(outlets))
            os.replace(new, self.file)
        except OSError as error:
            raise PermanentError(f"the outlets cannot be kept in {self.file}: {error.strerror}") from None
