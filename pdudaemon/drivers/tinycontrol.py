# SPDX-License-Identifier: MIT
"""tinycontrol PDUs: tcPDU (``tinycontrol``) and IP Power Socket 6G10A with its elders (``tinycontrol_socket``).

Source: the vendor's description of the API; public clients.
Tested: against a fake only. That older LK firmware turns the bits round is from documentation, untried.
Quirks: an order is answered with something, whatever came of it, so the state is read back. ``inverted`` is for
firmware of which an output is on when it says 0.

    "rack1": {"driver": "tinycontrol", "ip": "192.0.2.114"},
    "rack2": {"driver": "tinycontrol_socket", "ip": "192.0.2.115", "username": "admin", "password": "secret"}
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.drivers.recognition import WAYS, Recognised, reached
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Response
from pdudaemon.transports.pages import Pages

_STATES = {"1": State.ON, "0": State.OFF}
_MAKER = Identity("tinycontrol")


class _Row(NamedTuple):
    """Where a model takes orders, where it tells, and how an output with its bit stands there."""

    order: str
    states: str
    output: re.Pattern[str]


class TinyControl(SecureWebDevice):
    """One page tells all outputs, another one takes orders."""

    models = {
        "tinycontrol": _Row(
            "/api/v1/save/", "/api/v1/read/status/?outValues", re.compile(r'"out(\d{1,2})"\s*:\s*"?([01])\b')
        ),
        "tinycontrol_socket": _Row("/outs.cgi", "/st0.xml", re.compile(r"<out(\d{1,2})>\s*([01])\s*<")),
    }
    ports = Numbered(24, at_most=True)

    username = Setting(text, "", "user name, if the device wants a login")
    password = Setting(text, "", "password of that user", secret=True)
    inverted = Setting(boolean, False, "an output is on when the device says 0")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        self.port_status(port_number)  # raises for an output that is not there
        bit = int((wanted is State.ON) != self.inverted)
        self._get(f"{self.row.order}?out{port_number}={bit}")
        self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        states = self._states()
        if port_number not in states:
            raise PermanentError(f"the device has no output {port_number}, but {', '.join(map(str, states))}")
        return states[port_number]

    def read_outlets(self) -> list[OutletReading]:
        return stated(self._states())

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the page that tells all outputs, where that is there without a login."""
        for word, row in cls.models.items():
            for port, secure in WAYS:
                answer = pages.get(row.states, port=port, secure=secure)
                if answer is not None and answer.status == 200 and (told := row.output.findall(answer.text)):
                    states = {int(number): _STATES[bit] for number, bit in told if number != "0"}
                    return Recognised({"driver": word, **reached(pages, secure)}, _MAKER, stated(states))
        return None

    def _states(self) -> dict[int, State]:
        answer = self._get(self.row.states)
        found = {int(number): (bit == "1") != self.inverted for number, bit in self.row.output.findall(answer.text)}
        if not found:
            raise TransientError(f"{answer.source}: the answer does not tell the state of the outputs")
        return {number: State.ON if on else State.OFF for number, on in sorted(found.items()) if number}

    def _get(self, target: str) -> Response:
        return self.client(self.username, self.password).request("GET", target)
