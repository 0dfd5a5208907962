# SPDX-License-Identifier: MIT
"""WattBox (Snap One) series 300 and 700, by their web pages.

Source: two public libraries.
Tested: against a fake only.
Quirks: volts and amps are told in tenths. Outlet 0 means all of them there, and none here.

    "av": {"driver": "wattbox_http", "ip": "192.0.2.101", "password": "secret"}
"""

from __future__ import annotations

import html
import re

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Response
from pdudaemon.transports.pages import Pages

_INFO = "/wattbox_info.xml"
_TENTH = 0.1
_STATES = {"1": State.ON, "0": State.OFF}


class WattBoxHTTP(SecureWebDevice):
    """One piece of XML tells all, and answers orders."""

    models = {"wattbox_http": None}
    ports = Numbered(24, at_most=True)
    stable_names = True

    username, password = login("wattbox", "wattbox", "the web pages")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        self.port_status(port_number)  # raises for an outlet that is not there
        answer = self._get(f"/control.cgi?outlet={port_number}&command={int(wanted is State.ON)}")
        if _states(answer)[port_number - 1] is not wanted:
            self.confirm(port_number, wanted, within=5)

    def port_status(self, port_number: int) -> State:
        answer = self._get(_INFO)
        states = _states(answer)
        if port_number > len(states):
            raise PermanentError(f"{answer.source}: the device has no outlet {port_number}, but {len(states)}")
        return states[port_number - 1]

    def read_outlets(self) -> list[OutletReading]:
        answer = self._get(_INFO)
        states = _states(answer)
        names = [*_tag(answer, "outlet_name").split(","), *[""] * len(states)]
        pairs = zip(states, names, strict=False)
        return [OutletReading(str(port), label(name), state) for port, (state, name) in enumerate(pairs, 1)]

    def read_inlets(self) -> list[InletReading]:
        answer = self._get(_INFO)
        watts, volts, amps = (
            quantity(_tag(answer, f"{name}_value"), unit)
            for name, unit in (("power", 1.0), ("voltage", _TENTH), ("current", _TENTH))
        )
        return [InletReading("total", watts, volts, amps)] if watts is not None else []

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by a page that nothing else has, and that wants a login."""
        if not pages.wants_login(_INFO):
            return None
        return Recognised({"driver": "wattbox_http", **place_of(pages)}, Identity("Snap One"), wants=LOGIN)

    def _get(self, target: str) -> Response:
        return self.client(self.username, self.password).request("GET", target)


def _tag(answer: Response, name: str) -> str:
    """Return what stands in a tag, empty if there is none."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", answer.text)
    return html.unescape(found[1]).strip() if found else ""


def _states(answer: Response) -> list[State]:
    bits = _tag(answer, "outlet_status").replace(" ", "")
    if not re.fullmatch(r"[01](,[01])*,?", bits):
        raise TransientError(f"{answer.source}: the answer does not tell the state of the outlets")
    return [_STATES[bit] for bit in bits.rstrip(",").split(",")]
