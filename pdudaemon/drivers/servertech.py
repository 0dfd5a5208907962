# SPDX-License-Identifier: MIT
"""Server Technology (Legrand) Switched PRO2, by the JSON API of its firmware 8 and later (JAWS).

Source: the requests that the existing PDUDaemon sends; public tools for the same API.
Tested: against a fake, over TLS as well.
Quirks: outlets have names like ``AA1``: unit, cord, number. An order is answered with nothing but a status, so the
state is read back. Certificates are the PDU's own: ``insecure`` takes them, and what ciphers it has.

    "rack7": {"driver": "servertechpro2", "ip": "192.0.2.53", "protocol": "https", "insecure": true,
              "password": "secret"}
"""

from __future__ import annotations

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.network import WebDevice, login
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, choice
from pdudaemon.transports.http import Client, tls

_HEADERS = {"Accept": "application/json", "X-CSRF": "x"}
_STATES = {"on": State.ON, "off": State.OFF}


class ServerTechPRO2(WebDevice):
    """An outlet is ordered at one place and looked at in another."""

    models = {"servertechpro2": None}
    ports = Named(r"[A-Z]+[0-9]+", "outlets have names like AA1", str.upper)

    protocol = Setting(choice("http", "https"), "http", "how the API is reached")
    insecure = Setting(boolean, False, "take any certificate, and old TLS")
    username, password = login("admin", "admin", "the API")

    def port_interaction(self, command: str, port_number: str) -> None:
        order = {"control_action": command}
        self._client().request("PATCH", f"/jaws/control/outlets/{port_number}", json=order, headers=_HEADERS)
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: str) -> State:
        answer = self._client().request("GET", f"/jaws/monitor/outlets/{port_number}", headers=_HEADERS)
        outlet = answer.json()
        if not isinstance(outlet, dict) or not isinstance(outlet.get("state"), str):
            raise TransientError(f"{answer.source}: the answer does not tell the state of outlet {port_number}")
        return _STATES.get(outlet["state"].lower(), State.UNKNOWN)

    def _client(self) -> Client:
        secure = self.protocol == "https"
        return Client(
            self.host,
            self.deadline,
            port=443 if secure else 80,
            username=self.username,
            password=self.password,
            secure=tls(check=not self.insecure) if secure else None,
        )
