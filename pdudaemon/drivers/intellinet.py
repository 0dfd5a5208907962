# SPDX-License-Identifier: MIT
"""Intellinet 163682, an IP smart PDU with eight outlets, by its web pages.

Source: the requests that the existing PDUDaemon sends; public tools for the device, with a recorded ``status.xml``.
Tested: against a fake only.
Quirks: outlets are counted from 0 (outlet 1 of the panel is port 0). The device hardly ever asks for a login, so it is
sent unasked; a refused one may come as a page with status 200. Orders are not acknowledged, so the state is read back,
for as long as ``timeout`` allows: each outlet may have a delay of its own. There is one meter, for the current of all.

    "rack9": {"driver": "intellinet", "ip": "192.0.2.64", "password": "secret"},
    "192.0.2.65": {"driver": "intellinet", "port": 8080}
"""

from __future__ import annotations

import base64
import re

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, login, tcp_port
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, quantity, stated
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import LoginRefused, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_LAST_OUTLET = 7
_OPERATIONS = {"on": 0, "off": 1}
_OUTLET = re.compile(r"<outletStat(\d)>\s*(on|off)\s*</outletStat\1>", re.IGNORECASE)
_AMPS = re.compile(r"<curBan>([^<]*)</curBan>", re.IGNORECASE)
_REFUSED = re.compile(r"\b401\W+Unauthori[sz]ed\b", re.IGNORECASE)


class Intellinet(NetworkDevice):
    """Switches by one page and reads another."""

    models = {"intellinet": None}
    ports = Numbered(_LAST_OUTLET, first=0)

    port = tcp_port(80, "the web pages")
    username, password = login("admin", "admin", "the web pages")

    def port_interaction(self, command: str, port_number: int) -> None:
        self._get(f"/control_outlet.htm?outlet{port_number}=1&op={_OPERATIONS[command]}&submit=Anwenden")
        self.confirm(port_number, State(command))

    def port_status(self, port_number: int) -> State:
        source, states = self._states()
        if port_number not in states:
            raise TransientError(f"{source}: the answer does not tell the state of outlet {port_number}")
        return states[port_number]

    def read_outlets(self) -> list[OutletReading]:
        source, states = self._states()
        if not states:
            raise TransientError(f"{source}: the answer does not tell the state of any outlet")
        return stated(states)

    def read_inlets(self) -> list[InletReading]:
        said = _AMPS.search(self._get("/status.xml").text)
        amps = quantity(said[1]) if said else None
        return [] if amps is None else [InletReading("total", amps=amps)]

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        answer = pages.get("/status.xml")
        states = _states(answer) if answer is not None else {}
        if not states:
            return None
        return Recognised({"driver": "intellinet", **port_of(pages)}, Identity("Intellinet"), stated(states))

    def _states(self) -> tuple[str, dict[int, State]]:
        """Return whose answer it is, as errors begin, and the states of the outlets that it has."""
        answer = self._get("/status.xml")
        return answer.source, _states(answer)

    def _get(self, target: str) -> Response:
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        client = Client(self.host, self.deadline, port=self.port)
        answer = client.request("GET", target, headers={"Authorization": f"Basic {login}"})
        if _REFUSED.search(answer.text):
            raise LoginRefused(f"login refused by {answer.source} (401 in the page)")
        return answer


def _states(answer: Response) -> dict[int, State]:
    """Return the states of the outlets that a page tells of."""
    found = {int(outlet): State(state.lower()) for outlet, state in _OUTLET.findall(answer.text)}
    return {outlet: state for outlet, state in found.items() if outlet <= _LAST_OUTLET}
