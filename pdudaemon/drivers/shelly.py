# SPDX-License-Identifier: MIT
"""Shelly switches and plugs of the second generation and later (Plus, Pro, Gen3, Gen4), by JSON-RPC over HTTP.

Source: Shelly's API documentation (RPC protocol, Switch, Authentication, Common errors).
Tested: against a fake, with and without a password.
Quirks: outlets are counted from 0. The user is always ``admin``; the login is by Digest with SHA-256. Errors come in
the JSON, whatever the status says. The answer to an order tells what was before, so the state is read back. Names are
those of the switches in the app; what a model does not measure is not told.

    "plug": {"driver": "shelly_gen2", "ip": "192.0.2.66"},
    "192.0.2.67": {"driver": "shelly_gen2", "password": "secret"}
"""

from __future__ import annotations

from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages, object_of

_LAST_SWITCH = 3
_TO_BE_READ = {*range(400, 600)} - {401, 403}
_LATER = (-104, -108, -114)  # deadline exceeded, resource exhausted, unavailable
_STATES = {True: State.ON, False: State.OFF}


class ShellyGen2(NetworkDevice):
    """Ports are the ids of the switch components."""

    models = {"shelly_gen2": None}
    ports = Numbered(_LAST_SWITCH, first=0, at_most=True)
    stable_names = True

    port = tcp_port(80, "the web server")
    password = Setting(text, "", "password of the device, if it has one", secret=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        self._call("Switch.Set", id=port_number, on=wanted is State.ON)
        self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        source, result = self._call("Switch.GetStatus", id=port_number)
        if not isinstance(result.get("output"), bool):
            raise TransientError(f"{source}: the answer does not tell the state of switch {port_number}")
        return _STATES[result["output"]]

    def read_outlets(self) -> list[OutletReading]:
        source, status = self._call("Shelly.GetStatus")
        switches = {number: status[key] for number in range(_LAST_SWITCH + 1) if (key := f"switch:{number}") in status}
        if not switches:
            raise PermanentError(f"{source}: the device has no switches; is it set up for covers?")
        _, config = self._call("Shelly.GetConfig")
        return [_reading(number, switch, config.get(f"switch:{number}")) for number, switch in switches.items()]

    def identify(self) -> Identity:
        return _identity(self._call("Shelly.GetDeviceInfo")[1])

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        who = pages.json("/shelly")
        if not isinstance(who.get("gen"), int) or who["gen"] < 2:
            return None
        status, config = (_result(pages.post("/rpc", _frame(f"Shelly.Get{what}"))) for what in ("Status", "Config"))
        outlets = [
            _reading(number, status[key], config.get(key))
            for number in range(_LAST_SWITCH + 1)
            if (key := f"switch:{number}") in status
        ]
        wants = "password" if who.get("auth_en") else ""
        return Recognised({"driver": "shelly_gen2", **port_of(pages)}, _identity(who), outlets, wants)

    def _call(self, method: str, **params: Any) -> tuple[str, dict[str, Any]]:
        """Call a method; return whose answer it is, as errors begin, and its result."""
        username = "admin" if self.password else ""
        client = Client(self.host, self.deadline, port=self.port, username=username, password=self.password)
        answer = client.request("POST", "/rpc", json=_frame(method, **params), also=_TO_BE_READ)
        source = f"{answer.source} {method}"
        if answer.status == 404 and not answer.body.startswith(b"{"):
            raise PermanentError(f"{source}: not a device of the second generation or later (404)")
        said = answer.json()
        if not isinstance(said, dict):
            raise TransientError(f"{source}: the answer is not a JSON object")
        if isinstance(error := said.get("error"), dict):
            kind = TransientError if error.get("code") in _LATER else PermanentError
            raise kind(f"{source}: {error.get('message')} ({error.get('code')})")
        if not isinstance(result := said.get("result"), dict):
            raise TransientError(f"{source}: the answer has neither a result nor an error")
        return source, result


def _frame(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def _result(answer: Response | None) -> dict[str, Any]:
    """Return the result of a call, empty if it has none."""
    result = object_of(answer).get("result")
    return result if isinstance(result, dict) else {}


def _identity(info: dict[str, Any]) -> Identity:
    model, mac, firmware = (label(info.get(key)) or "" for key in ("model", "mac", "ver"))
    return Identity("Shelly", model, mac, firmware)


def _reading(number: int, switch: object, config: object) -> OutletReading:
    said = switch if isinstance(switch, dict) else {}
    energy = said.get("aenergy")
    return OutletReading(
        str(number),
        label(config.get("name")) if isinstance(config, dict) else None,
        _STATES[output] if isinstance(output := said.get("output"), bool) else State.UNKNOWN,
        watts=quantity(said.get("apower")),
        volts=quantity(said.get("voltage")),
        amps=quantity(said.get("current")),
        watt_hours=quantity(energy.get("total")) if isinstance(energy, dict) else None,
    )
