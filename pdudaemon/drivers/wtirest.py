# SPDX-License-Identifier: MIT
"""WTI power switches and console servers with power (NPS, MPC, VMR, RSM, CPM), by the REST API of firmware 6 and later.

Source: the maker's description of the API, and its Ansible collection.
Tested: against a fake only; untried on a device.
Quirks: a refusal comes with HTTP 200 and a code of its own. A plug that is busy is looked at again.

    "row6": {"driver": "wti_rest", "ip": "192.0.2.123", "protocol": "https", "insecure": true,
             "username": "rest", "password": "secret"}
"""

from __future__ import annotations

from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State

_PLUGS = "/api/v2/config/powerplug"
_DONE = "0"
_STATES = {"on": State.ON, "off": State.OFF}


class WTI(SecureWebDevice):
    """One resource, which tells of plugs and takes orders for them."""

    models = {"wti_rest": None}
    ports = Numbered(96, at_most=True)

    username, password = login("super", "super", "the API")

    def port_interaction(self, command: str, port_number: int) -> None:
        self._ask("POST", _PLUGS, {"plug": str(port_number), "state": command})
        self.confirm(port_number, State(command), within=10)

    def port_status(self, port_number: int) -> State:
        told = {each.port: each.state or State.UNKNOWN for each in self._plugs(f"{_PLUGS}?plug={port_number}")}
        if str(port_number) not in told:
            raise PermanentError(f"{self.host} has no plug {port_number}")
        return told[str(port_number)]

    def read_outlets(self) -> list[OutletReading]:
        return self._plugs(_PLUGS)

    def identify(self) -> Identity:
        said = self._ask("GET", "/api/v2/status/status")
        names = ("vendor", "product", "serialnumber", "softwareversion")
        return Identity(*(str(said.get(name) or "")[:60] for name in names))

    def _plugs(self, target: str) -> list[OutletReading]:
        said = self._ask("GET", target)
        try:
            return [
                OutletReading(str(int(plug["plug"])), label(plug["plugname"]), _STATES.get(plug["state"].lower()))
                for plug in said["powerplugs"]
            ]
        except (AttributeError, LookupError, TypeError, ValueError):
            raise TransientError(f"{self.host}: the answer does not tell of the plugs") from None

    def _ask(self, method: str, target: str, order: object = None) -> dict[str, Any]:
        """Return what is answered. Raises: PermanentError if that is a refusal, in its words."""
        client = self.client(self.username, self.password)
        answer = client.request(method, target) if order is None else client.request(method, target, json=order)
        said = answer.json()
        status = said.get("status") if isinstance(said, dict) else None
        if not isinstance(status, dict) or not isinstance(said, dict):
            raise TransientError(f"{answer.source}: the answer has no status")
        if str(status.get("code")) != _DONE:
            raise PermanentError(f"{answer.source}: refused: {' '.join(str(status.get('text')).split())[:100]}")
        return said
