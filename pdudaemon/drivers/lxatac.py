# SPDX-License-Identifier: MIT
"""LXA TAC (Linux Automation), a test automation controller: the power of its board, USB ports and outputs.

Source: the OpenAPI description that the controller serves.
Tested: against a fake only.
Quirks: ports are ``dut``, ``port1`` to ``port3`` (USB), ``out_0``, ``out_1`` and ``iobus``. An order is taken and
carried out later, so the state is read back. What the controller has switched off to protect itself or the board is an
error, and stays off. Newer ones listen on port 80, older ones on 8080. There is no login.

    "tac1": {"driver": "lxatac", "ip": "192.0.2.111"},
    "tac2": {"driver": "lxatac", "ip": "lxatac-00042:8080"}
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.network import WebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import Recognised, place_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_PROTECTED = ("InvertedPolarity", "OverCurrent", "OverVoltage", "RealtimeViolation")
_DUT = {State.ON: "On", State.OFF: "Off"}
_DUT_STATES = {"On": State.ON, "Off": State.OFF, "OffFloating": State.OFF}
_STATES = {True: State.ON, False: State.OFF}


class _Part(NamedTuple):
    """Where a part is switched, and where it is measured, if it is."""

    switch: str
    amps: str = ""
    volts: str = ""


_DUT_PORT = "dut"
_PARTS = {
    _DUT_PORT: _Part("/v1/dut/powered", "/v1/dut/feedback/current", "/v1/dut/feedback/voltage"),
    **{
        name: _Part(f"/v1/usb/host/{name}/powered", f"/v1/usb/host/{name}/feedback/current")
        for name in ("port1", "port2", "port3")
    },
    **{name: _Part(f"/v1/output/{name}/asserted") for name in ("out_0", "out_1")},
    "iobus": _Part("/v1/iobus/powered"),
}


class LXATAC(WebDevice):
    """Each part is a resource, whose value is a word or a truth."""

    models = {"lxatac": None}
    ports = Named("|".join(_PARTS), f"ports are {', '.join(_PARTS)}", str.lower)

    def port_interaction(self, command: str, port_number: str) -> None:
        wanted = State(command)
        value: object = _DUT[wanted] if port_number == _DUT_PORT else wanted is State.ON
        self._ask("PUT", _PARTS[port_number].switch, value)
        self.confirm(port_number, wanted, within=10)

    def port_status(self, port_number: str) -> State:
        answer = self._ask("GET", _PARTS[port_number].switch)
        said = answer.json()
        if port_number == _DUT_PORT and said in _PROTECTED:
            raise PermanentError(f"{answer.source}: switched off for protection: {said}")
        return self._state(answer, port_number, said)

    def read_outlets(self) -> list[OutletReading]:
        return [self._reading(port, part) for port, part in _PARTS.items()]

    def identify(self) -> Identity:
        name = self._ask("GET", "/v1/tac/network/hostname").json()
        return Identity("Linux Automation", "LXA TAC", label(name) or "")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the state of its board, on either port."""
        for port in (80, 8080):
            answer = pages.get(_PARTS[_DUT_PORT].switch, port=port)
            said = answer.text.strip().strip('"') if answer is not None and answer.status == 200 else ""
            if said in (*_DUT_STATES, *_PROTECTED):
                place = place_of(pages) or ({} if port == 80 else {"ip": f"{pages.host}:{port}"})
                return Recognised({"driver": "lxatac", **place}, Identity("Linux Automation", "LXA TAC"))
        return None

    def _reading(self, port: str, part: _Part) -> OutletReading:
        answer = self._ask("GET", part.switch)
        said = answer.json()
        state = State.OFF if port == _DUT_PORT and said in _PROTECTED else self._state(answer, port, said)
        volts, amps = (self._measured(place) if place else None for place in (part.volts, part.amps))
        return OutletReading(port, None, state, volts=volts, amps=amps)

    @staticmethod
    def _state(answer: Response, port: str, said: Any) -> State:
        if port == _DUT_PORT:
            if not isinstance(said, str):
                raise TransientError(f"{answer.source}: the answer does not tell the state of the board")
            return _DUT_STATES.get(said, State.UNKNOWN)  # "Changing"
        if not isinstance(said, bool):
            raise TransientError(f"{answer.source}: the answer does not tell the state of {port}")
        return _STATES[said]

    def _measured(self, path: str) -> float | None:
        said = self._ask("GET", path).json()
        return quantity(said.get("value")) if isinstance(said, dict) else None

    def _ask(self, method: str, path: str, order: object = None) -> Response:
        return Client(self.host, self.deadline).request(method, path, json=order)
