# SPDX-License-Identifier: MIT
"""Server Technology (Legrand) Switched PRO2, by the JSON API of its firmware 8 and later (JAWS).

Source: the requests that the existing PDUDaemon sends; public tools for the same API.
Tested: against a fake, over TLS as well.
Quirks: outlets have names like ``AA1``: unit, cord, number. An order is answered with nothing but a status, so the
state is read back. Certificates are the PDU's own: ``insecure`` takes them, and what ciphers it has. All outlets are
told at once, with names and what their meters say, but energy, whose unit is not documented.

    "rack7": {"driver": "servertechpro2", "ip": "192.0.2.53", "protocol": "https", "insecure": true,
              "password": "secret"}
"""

from __future__ import annotations

import re
from typing import Any

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.network import WebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, choice
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, tls
from pdudaemon.transports.pages import Pages

_OUTLET = r"[A-Z]+[0-9]+"
_HEADERS = {"Accept": "application/json", "X-CSRF": "x"}
_STATES = {"on": State.ON, "off": State.OFF}


class ServerTechPRO2(WebDevice):
    """An outlet is ordered at one place and looked at in another."""

    models = {"servertechpro2": None}
    ports = Named(_OUTLET, "outlets have names like AA1", str.upper)
    stable_names = True

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
        return _state(outlet["state"])

    def read_outlets(self) -> list[OutletReading]:
        answer = self._client().request("GET", "/jaws/monitor/outlets", headers=_HEADERS)
        try:
            return [
                OutletReading(
                    port,
                    label(outlet.get("name")),
                    _state(outlet["state"]),
                    watts=quantity(outlet.get("active_power")),
                    volts=quantity(outlet.get("voltage")),
                    amps=quantity(outlet.get("current")),
                )
                for outlet in answer.json()
                if re.fullmatch(_OUTLET, port := outlet["id"].upper(), re.ASCII)
            ]
        except (AttributeError, LookupError, TypeError):
            raise TransientError(f"{answer.source}: the answer does not tell of the outlets") from None

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        page = "/jaws/monitor/outlets"
        if pages.wants_login(page, port=443, secure=True):
            found: dict[str, Any] = {"protocol": "https", "insecure": True}
        elif pages.wants_login(page):
            found = {}
        else:
            return None
        settings = {"driver": "servertechpro2", **place_of(pages), **found}
        return Recognised(settings, Identity("Server Technology"), wants=LOGIN)

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


def _state(said: str) -> State:
    return _STATES.get(said.lower(), State.UNKNOWN)
