# SPDX-License-Identifier: MIT
"""Lindy IPower Switch Classic 8 (32657) by its web pages; Digipower and others sell the same firmware.

Source: the requests that the existing PDUDaemon sends; the list in ``status.xml`` as labgrid is known to read it.
Tested: against a fake only.
Quirks: switching is not acknowledged, so the state is read back. The page with the states counts from the tenth field
on. Many devices leave the factory with ``snmp``/``1234``.

    "bench": {"driver": "LindyIPowerClassic8", "username": "snmp", "password": "secret"},
    "far": {"driver": "LindyIPowerClassic8", "ip": "192.0.2.51", "port": 8080}
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_OUTLETS = 8
_LEDS = 24
_BEFORE_OUTLETS = 9  # what is to be added to an outlet for its field, counted from 0
_FIELD = re.compile(r"\s*([01])\s*(?:<|$)")
_STATES = {"1": State.ON, "0": State.OFF}


class LindyIPower(NetworkDevice):
    """Switches by one page and reads another; port 1 is the outlet A."""

    models = {"LindyIPowerClassic8": None}
    ports = Numbered(_OUTLETS)

    port = tcp_port(80, "the web pages")
    username = Setting(text, "", "user name of the web pages")
    password = Setting(text, "", "password of the web pages; there is a login only if both are given", secret=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        leds = "1".rjust(port_number, "0").ljust(_LEDS, "0")
        self._client().request("GET", f"/{command}s.cgi?led={leds}")
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: int) -> State:
        return self._states(port_number)[port_number]

    def read_outlets(self) -> list[OutletReading]:
        return stated(self._states(*range(1, _OUTLETS + 1)))

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        answer = pages.get("/status.xml")
        if answer is None or "<response>" not in answer.text:
            return None
        outlets = stated(_told(answer, range(1, _OUTLETS + 1)))
        return Recognised({"driver": "LindyIPowerClassic8", **port_of(pages)}, Identity("Lindy"), outlets)

    def _states(self, *outlets: int) -> dict[int, State]:
        return _told(self._client().request("GET", "/status.xml"), outlets)

    def _client(self) -> Client:
        username = self.username if self.password else ""
        return Client(self.host, self.deadline, port=self.port, username=username, password=self.password)


def _told(answer: Response, outlets: Iterable[int]) -> dict[int, State]:
    """Return the states of outlets. Raises: TransientError if one of them is not told."""
    fields = answer.text.split(",")
    states = {}
    for outlet in outlets:
        found = _FIELD.match("".join(fields[outlet + _BEFORE_OUTLETS :][:1]))
        if found is None:
            raise TransientError(f"{answer.source}: the answer does not tell the state of outlet {outlet}")
        states[outlet] = _STATES[found[1]]
    return states
