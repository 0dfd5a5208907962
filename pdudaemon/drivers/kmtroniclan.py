# SPDX-License-Identifier: MIT
"""The KMTronic LAN board with eight relays, by its web pages.

Source: the maker's pages on the board.
Tested: against a fake only.
Quirks: an order is answered with a page, whatever came of it, so the relays are read back, after the rest of 0.1 s that
the board wants between two requests.

    "rack": {"driver": "kmtronic_lan", "ip": "192.0.2.117", "password": "secret"}
"""

from __future__ import annotations

import re

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.drivers.recognition import Recognised, place_of
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client
from pdudaemon.transports.pages import Pages

_RELAYS = 8
_REST = 0.1  # seconds
_RELAY = re.compile(r"<relay(\d)>\s*([01])\s*</relay\1>")
_STATES = {"1": State.ON, "0": State.OFF}


class KMTronicLAN(WebDevice):
    """An order is a page, and all states are another."""

    models = {"kmtronic_lan": None}
    ports = Numbered(_RELAYS)

    username, password = login("admin", "admin", "the pages")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        self._get(f"/FF{port_number:02}{int(wanted is State.ON):02}")
        self.deadline.pause(_REST)
        self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        return self._states()[port_number]

    def read_outlets(self) -> list[OutletReading]:
        return stated(self._states())

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the page that tells all relays, where that is there without a login."""
        answer = pages.get("/status.xml")
        if answer is None or answer.status != 200 or (states := _told(answer.text)) is None:
            return None
        return Recognised({"driver": "kmtronic_lan", **place_of(pages)}, Identity("KMTronic"), stated(states))

    def _states(self) -> dict[int, State]:
        source, page = self._get("/status.xml")
        if (found := _told(page)) is None:
            raise TransientError(f"{source}: the answer does not tell the state of the relays")
        return found

    def _get(self, target: str) -> tuple[str, str]:
        client = Client(self.host, self.deadline, username=self.username, password=self.password)
        answer = client.request("GET", target)
        return answer.source, answer.text


def _told(page: str) -> dict[int, State] | None:
    """Return the states in the page, None if it is not one with eight relays."""
    found = {int(relay): _STATES[bit] for relay, bit in _RELAY.findall(page) if relay != "0"}
    return found if {*found} == {*range(1, _RELAYS + 1)} else None
