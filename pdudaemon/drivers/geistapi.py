# SPDX-License-Identifier: MIT
"""Vertiv Geist rack PDUs (IMD, GU2, firmware 5 and 6) by their JSON API; `vertiv_geist` and others are by SNMP.

Source: code of a public bridge that speaks it; what measurements of outlets look like, and the logout, from the maker's
description of the API at second hand.
Tested: against a fake; from documentation, untried on a PDU.
Quirks: each answer is HTTP 200 with a code of its own. Outlets are counted from 0 on the wire, from 1 here and on the
case. Where several PDUs are chained behind one address, ``device`` says which. Where nobody may read without a login,
readings take one as well.

    "row7": {"driver": "geist_api", "ip": "192.0.2.124", "protocol": "https", "insecure": true, "password": "secret"}
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, WAYS, Recognised, reached
from pdudaemon.errors import DeviceError, LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

_DONE, _NOT_AUTHORISED, _BAD_PASSWORD = 0, 1001, 1004
_STATES = {"on": State.ON, "off": State.OFF}
_MEASURED = {
    ("realPower", "W"): ("watts", 1.0),
    ("voltage", "V"): ("volts", 1.0),
    ("current", "A"): ("amps", 1.0),
    ("energy", "kWh"): ("watt_hours", 1000.0),
}


class Geist(SecureWebDevice):
    """What is asked for is a path of the tree; what is ordered is said with a token that a login gives."""

    models = {"geist_api": None}
    ports = Numbered(64, at_most=True)

    username, password = login("admin", "", "the web pages")
    device = Setting(text, "", "id of the PDU, where there are several behind the address")

    def port_interaction(self, command: str, port_number: int) -> None:
        path, outlets = self._outlets()
        self._one(outlets, port_number)
        with self._token() as token:
            order = {"token": token, "cmd": "control", "data": {"action": command, "delay": False}}
            self._ask("POST", f"{path}/{port_number - 1}", order)
        self.confirm(port_number, State(command), within=10)

    def port_status(self, port_number: int) -> State:
        return _state(self._one(self._outlets()[1], port_number))

    def read_outlets(self) -> list[OutletReading]:
        outlets = self._outlets()[1]
        return [
            OutletReading(
                str(port), label(outlet.get("label") or outlet.get("name")), _state(outlet), **_measured(outlet)
            )
            for port, outlet in sorted(outlets.items())
        ]

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the code in its answers, whether it tells of its devices or refuses to."""
        for port, secure in WAYS:
            said = pages.json("/api/dev", port=port, secure=secure)
            if said.get("retCode") in (_DONE, _NOT_AUTHORISED) and "retMsg" in said:
                return Recognised({"driver": "geist_api", **reached(pages, secure)}, Identity("Vertiv"), wants=LOGIN)
        return None

    def _one(self, outlets: Mapping[int, Mapping[str, Any]], port: int) -> Mapping[str, Any]:
        if port not in outlets:
            raise PermanentError(f"{self.host} has no outlet {port}: it has {', '.join(map(str, outlets))[:200]}")
        return outlets[port]

    def _outlets(self) -> tuple[str, dict[int, dict[str, Any]]]:
        """Return the path of the outlets of the PDU, and what is told of each, by port."""
        if self.device:
            path = f"/api/dev/{urllib.parse.quote(self.device, safe='')}/outlet"
            return path, _by_port(self._get(path), self.host)
        found = {
            str(name): told["outlet"]
            for name, told in self._get("/api/dev").items()
            if isinstance(told, dict) and isinstance(told.get("outlet"), dict) and told["outlet"]
        }
        if len(found) != 1:
            names = ", ".join(found)[:200] if found else "none"
            raise PermanentError(
                f"{self.host} has several PDUs with outlets, or none: `device` is to be one of {names}"
            )
        ((name, outlets),) = found.items()
        return f"/api/dev/{urllib.parse.quote(name, safe='')}/outlet", _by_port(outlets, self.host)

    def _get(self, path: str) -> dict[str, Any]:
        try:
            return self._ask("GET", path)
        except LoginRefused:
            with self._token() as token:
                return self._ask("POST", path, {"token": token, "cmd": "get"})

    @contextmanager
    def _token(self) -> Iterator[str]:
        """Log in, and out in the end, as a PDU has few sessions."""
        account = f"/api/auth/{urllib.parse.quote(self.username, safe='')}"
        said = self._ask("POST", account, {"token": "", "cmd": "login", "data": {"password": self.password}})
        token = said.get("token")
        if not isinstance(token, str) or not token:
            raise TransientError(f"{self.host}: the answer to the login has no token")
        try:
            yield token
        finally:
            with suppress(DeviceError):
                self._ask("POST", account, {"token": token, "cmd": "logout"})

    def _ask(self, method: str, path: str, order: object = None) -> dict[str, Any]:
        """Return the data of an answer. Raises: PermanentError if that is a refusal, in its words."""
        client = self.client()
        answer = client.request(method, path) if order is None else client.request(method, path, json=order)
        said = answer.json()
        code = said.get("retCode") if isinstance(said, dict) else None
        if not isinstance(said, dict) or not isinstance(code, int) or isinstance(code, bool):
            raise TransientError(f"{answer.source}: the answer has no retCode")
        if code in (_NOT_AUTHORISED, _BAD_PASSWORD):
            raise LoginRefused(f"login refused by {answer.source} ({code})")
        if code != _DONE:
            words = " ".join(str(said.get("retMsg") or "").split())[:100]
            raise PermanentError(f"{answer.source}: refused: {words or 'it does not say why'} ({code})")
        data = said.get("data")
        return data if isinstance(data, dict) else {}


def _by_port(outlets: Mapping[str, Any], host: str) -> dict[int, dict[str, Any]]:
    found = {
        int(number) + 1: told
        for number, told in outlets.items()
        if number.isascii() and number.isdecimal() and len(number) < 4 and isinstance(told, dict)
    }
    if not found or len(found) < len(outlets):
        raise TransientError(f"{host}: the answer does not tell of the outlets")
    return found


def _state(outlet: Mapping[str, Any]) -> State:
    return _STATES.get(str(outlet.get("state")).lower(), State.UNKNOWN)


def _measured(outlet: Mapping[str, Any]) -> dict[str, Any]:
    points = outlet.get("measurement")
    found: dict[str, Any] = {}
    for point in points.values() if isinstance(points, dict) else ():
        kind = (str(point.get("type")), str(point.get("units"))) if isinstance(point, dict) else ("", "")
        if kind in _MEASURED:
            name, unit = _MEASURED[kind]
            found[name] = quantity(point.get("value"), unit)
    return found
