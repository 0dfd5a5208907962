# SPDX-License-Identifier: MIT
"""NETIO PDUs with the JSON API (4All, PowerPDU 4C and 8QS, PowerCable, PowerBOX, PowerDIN and so on).

The API must be enabled in the device's web pages, with the read-write account.

Source: NETIO application note AN21 (JSON over HTTP).
Tested: against a fake only.
Quirks: the API's account is not the one of the web pages; many devices leave the factory with ``netio``/``netio``.
Outputs have names and, with some models, meters of their own; the voltage is that of the whole PDU.

    "rack3": {"driver": "netiojson", "ip": "192.0.2.9", "password": "secret"},
    "rack4": {"driver": "netiojson", "username": "netio", "password": "secret", "number_of_outputs": 8}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, login, tcp_port
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_MILLI = 0.001
_USUAL = 4  # outputs
_STATES = {1: State.ON, 0: State.OFF}
_ACTIONS = {state: number for number, state in _STATES.items()}


class NetioJSON(NetworkDevice):
    """Each answer, also to a command, tells the state of all outputs."""

    models = {"netiojson": None}

    port = tcp_port(80, "the API")
    username, password = login("admin", "admin", "the API")
    number_of_outputs = Setting(integer(1, 1000), _USUAL, "number of outputs, counted from 1")
    ports = Numbered(number_of_outputs)
    stable_names = True

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        order = {"Outputs": [{"ID": port_number, "Action": _ACTIONS[wanted]}]}
        answer = self._client().request("POST", "/netio.json", json=order)
        if self._state(answer, port_number) is not wanted:
            raise TransientError(f"{answer.source}: output {port_number} is not {wanted} after the command")

    def port_status(self, port_number: int) -> State:
        return self._state(self._client().request("GET", "/netio.json"), port_number)

    def read_outlets(self) -> list[OutletReading]:
        answer = self._client().request("GET", "/netio.json")
        try:
            return [_reading(entry) for entry in answer.json()["Outputs"] if 1 <= entry["ID"] <= self.number_of_outputs]
        except (AttributeError, LookupError, TypeError):
            raise TransientError(f"{answer.source}: the answer does not tell of the outputs") from None

    def read_inlets(self) -> list[InletReading]:
        total = self._part("GlobalMeasure")
        if quantity(total.get("Voltage")) is None:
            return []
        return [
            InletReading(
                "total",
                watts=quantity(total.get("TotalLoad")),
                volts=quantity(total.get("Voltage")),
                amps=quantity(total.get("TotalCurrent"), _MILLI),
                watt_hours=quantity(total.get("TotalEnergy")),
            )
        ]

    def identify(self) -> Identity:
        return _identity(self._part("Agent"))

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        if pages.wants_login("/netio.json"):
            return Recognised({"driver": "netiojson", **port_of(pages)}, Identity("NETIO"), wants=LOGIN)
        said = pages.json("/netio.json")
        outputs, agent = said.get("Outputs"), said.get("Agent")
        if not isinstance(outputs, list) or not isinstance(agent, dict):
            return None
        try:
            outlets = [_reading(entry) for entry in outputs]
        except (AttributeError, LookupError, TypeError):
            return None
        count = {"number_of_outputs": len(outlets)} if len(outlets) not in (0, _USUAL) else {}
        return Recognised({"driver": "netiojson", **port_of(pages), **count}, _identity(agent), outlets)

    def _part(self, name: str) -> dict[str, Any]:
        """Return a part of what the device says of itself, empty if it does not."""
        said = self._client().request("GET", "/netio.json").json()
        found = said.get(name) if isinstance(said, dict) else None
        return found if isinstance(found, dict) else {}

    def _client(self) -> Client:
        return Client(self.host, self.deadline, port=self.port, username=self.username, password=self.password)

    @staticmethod
    def _state(answer: Response, output: int) -> State:
        try:
            for entry in answer.json()["Outputs"]:
                if entry["ID"] == output:
                    return _STATES[entry["State"]]
        except (KeyError, TypeError):
            raise TransientError(f"{answer.source}: the answer does not tell the state of output {output}") from None
        raise PermanentError(f"{answer.source}: the device has no output {output}")


def _identity(agent: Mapping[str, Any]) -> Identity:
    model, serial, firmware = (label(agent.get(key)) or "" for key in ("Model", "SerialNumber", "Version"))
    return Identity("NETIO", model, serial, firmware)


def _reading(output: Mapping[str, Any]) -> OutletReading:
    return OutletReading(
        str(output["ID"]),
        label(output.get("Name")),
        _STATES[output["State"]],
        watts=quantity(output.get("Load")),
        amps=quantity(output.get("Current"), _MILLI),
        watt_hours=quantity(output.get("Energy")),
    )
