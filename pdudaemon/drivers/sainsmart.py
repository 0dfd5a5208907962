# SPDX-License-Identifier: MIT
"""SainSmart network relay boards of 8 and 16 channels (a W5100 with a small web server), HW-584 as well.

Source: the requests that the existing PDUDaemon sends; public code for these boards for both ways of reading.
Tested: against a fake of either kind only.
Quirks: a board may close without any HTTP around its answer, or without an answer. It acknowledges nothing, so the
state is read back. Some boards tell all relays at once; others show pages with some of them in turn. Of one
that does neither the state is unknown, and its orders are done when it took them. There is no login.

    "relays": {"driver": "sainsmart", "ip": "192.0.2.52"}
"""

from __future__ import annotations

import re

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice
from pdudaemon.drivers.readings import OutletReading, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.transports.http import Client, Response

_RELAYS = 16
_DIGITS = "99"
_PAGES = ("42",) * 4  # they take turns
_ALL = re.compile(rf"(?<!\d)[01]{{{_RELAYS}}}(?!\d)")
_ONE = re.compile(r"Relay-(\d+):\s(?:(?!Relay-).)*?\b(ON|OFF)\b", re.DOTALL)


class SainSmart(WebDevice):
    """Everything is a path of digits: two for each relay, others for the states."""

    models = {"sainsmart": None}
    ports = Numbered(_RELAYS)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        self._get(f"{2 * (port_number - 1) + (wanted is State.ON):02}")
        if self.port_status(port_number) not in (wanted, State.UNKNOWN):  # a board that tells no states is believed
            self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        return self._states(port_number).get(port_number, State.UNKNOWN)

    def read_outlets(self) -> list[OutletReading]:
        states = self._states(*range(1, _RELAYS + 1))
        return stated(states or dict.fromkeys(range(1, _RELAYS + 1), State.UNKNOWN))

    def _states(self, *wanted: int) -> dict[int, State]:
        """Read pages until they have shown all relays that are wanted, or have taken their turns."""
        states: dict[int, State] = {}
        shows = False
        for path in (_DIGITS, *_PAGES):
            answer = self._get(path)
            states |= _shown(answer.text)
            if states.keys() >= {*wanted}:
                return states
            shows = shows or "<" in answer.text
        if not shows:
            raise TransientError(f"{answer.source}: the board shows no page")
        return states

    def _get(self, path: str) -> Response:
        client = Client(self.host, self.deadline)
        return client.request("GET", f"/30000/{path}", also=(404,) if path == _DIGITS else (), bare=True)


def _shown(page: str) -> dict[int, State]:
    """Return the states of the relays that a page shows."""
    if found := _ALL.search(page):
        return {relay: State.ON if digit == "1" else State.OFF for relay, digit in enumerate(found[0], 1)}
    return {int(relay): State(word.lower()) for relay, word in _ONE.findall(page)}
