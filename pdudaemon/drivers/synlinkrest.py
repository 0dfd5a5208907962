# SPDX-License-Identifier: MIT
"""SynLink PDUs of Synaccess, and netBooter with their firmware, by REST (``synlink`` speaks SNMP with them).

Source: the vendor's Python library for the API.
Tested: against a fake. Volts and amps from documentation, untried.
Quirks: a ``token`` that was made in the web pages is preferred to a login, whose session has no known end. Outlets are
addressed by number and serial number; with several units of which two have an outlet of a number, that one is refused.

    "rack1": {"driver": "synlink_rest", "ip": "192.0.2.94", "token": "secret"},
    "rack2": {"driver": "synlink_rest", "ip": "192.0.2.95", "password": "secret", "protocol": "https", "insecure": true}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import InletReading, OutletReading, label, quantity
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text

_STATES = {"ON": State.ON, "OFF": State.OFF}


class SynLink(SecureWebDevice):
    """Each action has a session of its own, unless there is a token."""

    models = {"synlink_rest": None}
    ports = Numbered(64, at_most=True)
    stable_names = True

    username, password = login("admin", "admin", "the web pages")
    token = Setting(text, "", "personal access token, in place of a login", secret=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        headers = self._let_in()
        outlet = self._one(self._list("outlets", headers), port_number)
        order = {"state": wanted.upper()}
        self.client().request("PUT", f"/api/outlets/{outlet['id']}", json=order, headers=headers)
        self.confirm(port_number, wanted, within=5)

    def port_status(self, port_number: int) -> State:
        return _state(self._one(self._list("outlets", self._let_in()), port_number))

    def read_outlets(self) -> list[OutletReading]:
        outlets = self._list("outlets", self._let_in())
        by_number = {_number(outlet): outlet for outlet in outlets}
        return [
            OutletReading(
                str(number),
                label(outlet.get("outletName")),
                _state(outlet),
                amps=quantity(outlet.get("outletCurrentRms")),
            )
            for number, outlet in sorted(by_number.items())
        ]

    def read_inlets(self) -> list[InletReading]:
        return [
            InletReading(
                str(inlet.get("id", number)),
                volts=quantity(inlet.get("inletVoltageRms")),
                amps=quantity(inlet.get("inletCurrentRms")),
                kind="inlet",
            )
            for number, inlet in enumerate(self._list("inlets", self._let_in()), 1)
        ]

    def _let_in(self) -> dict[str, str]:
        """Return the headers by which the device knows us."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        form = {"username": self.username, "password": self.password}
        answer = self.client().request("POST", "/api/login", json=form, also=(401, 403))
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        if not 200 <= answer.status < 300 or not cookie:
            raise LoginRefused(f"login refused by {answer.source} ({answer.status})")
        return {"Cookie": cookie}

    def _list(self, what: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = self.client().request("GET", f"/api/{what}", headers=headers, also=(401,))
        if answer.status == 401:
            raise LoginRefused(f"login refused by {answer.source} (401)")
        said = answer.json()
        if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
            raise TransientError(f"{answer.source}: the answer is not a list of {what}")
        if what == "outlets" and not all(_number(each) for each in said):
            raise TransientError(f"{answer.source}: the answer does not tell of the outlets")
        return said

    def _one(self, outlets: list[dict[str, Any]], port: int) -> dict[str, Any]:
        found = [outlet for outlet in outlets if _number(outlet) == port]
        if len(found) != 1:
            why = "several outlets" if found else "no outlet"
            raise PermanentError(f"{self.host} has {why} {port}")
        return found[0]


def _number(outlet: Mapping[str, Any]) -> int:
    """Return the number in the id of an outlet (1-1200578), 0 if there is none."""
    number = str(outlet.get("id")).partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _state(outlet: Mapping[str, Any]) -> State:
    return _STATES.get(str(outlet.get("state")).upper(), State.UNKNOWN)
