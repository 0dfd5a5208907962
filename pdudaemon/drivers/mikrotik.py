# SPDX-License-Identifier: MIT
"""MikroTik routers and switches that feed devices by PoE, by the REST API of RouterOS 7.

Source: RouterOS's documentation of its REST API; public clients of it.
Tested: against a fake; on no hardware.
Quirks: a port is an interface such as ``ether3``, and off if its ``poe-out`` is. ``www-ssl`` has to be enabled, with a
certificate, and the user needs the policies ``rest-api``, ``read`` and ``write``. An interface's comment is its name.

    "poe": {"driver": "mikrotik_poe", "ip": "192.0.2.93", "username": "pdu", "password": "secret", "insecure": true},
    "mast": {"driver": "mikrotik_poe", "ip": "192.0.2.94", "username": "pdu", "password": "secret", "protocol": "http",
             "poe_out": "forced-on"}
"""

from __future__ import annotations

from typing import Any

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

_POE = "/rest/interface/ethernet/poe"
_STATES = {"off": State.OFF, "auto-on": State.ON, "forced-on": State.ON}
_UNITS = {"W": 1.0, "mW": 0.001, "V": 1.0, "mV": 0.001, "A": 1.0, "mA": 0.001}


class MikroTik(SecureWebDevice):
    """Everything in the REST API is a text."""

    models = {"mikrotik_poe": None}
    ports = Named(r"[A-Za-z0-9_.-]{1,50}", "the name of an interface, such as ether3")
    stable_names = True

    protocol = Setting(choice("http", "https"), "https", "how the device is reached")
    username, password = login("admin", "", "RouterOS")
    poe_out = Setting(choice("auto-on", "forced-on"), "auto-on", "`poe-out` of a port that is on")

    def port_interaction(self, command: str, port_number: str | int) -> None:
        wanted = self.poe_out if command == "on" else "off"
        found = self._port(port_number)
        self._ask("PATCH", f"{_POE}/{found.get('.id') or port_number}", {"poe-out": wanted})
        self.confirm(port_number, State(command), within=5)

    def port_status(self, port_number: str | int) -> State:
        return _STATES.get(str(self._port(port_number).get("poe-out")), State.UNKNOWN)

    def read_outlets(self) -> list[OutletReading]:
        ports = [each for each in self._list("GET", _POE) if each.get("name")]
        if not ports:
            raise PermanentError(f"{self.host} has no PoE ports")
        drawn = self._drawn(",".join(each["name"] for each in ports))
        return [
            OutletReading(
                each["name"],
                label(each.get("comment")),
                _STATES.get(str(each.get("poe-out")), State.UNKNOWN),
                watts=_measured(drawn.get(each["name"], {}).get("poe-out-power")),
                volts=_measured(drawn.get(each["name"], {}).get("poe-out-voltage")),
                amps=_measured(drawn.get(each["name"], {}).get("poe-out-current")),
            )
            for each in ports
        ]

    def identify(self) -> Identity:
        said = self._ask("GET", "/rest/system/resource")
        if not isinstance(said, dict):
            raise TransientError(f"{self.host} does not tell who it is")
        return Identity("MikroTik", label(said.get("board-name")) or "", "", label(said.get("version")) or "")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its REST API, which wants a login, where no other page does."""
        for secure in (True, False):
            if pages.wants_login("/rest/system/resource", port=443 if secure else 80, secure=secure):
                front = pages.get("/", port=443 if secure else 80, secure=secure)
                if front is not None and b"RouterOS" in front.body:
                    protocol = {} if secure else {"protocol": "http"}
                    settings = {"driver": "mikrotik_poe", **place_of(pages), **protocol}
                    return Recognised(settings, Identity("MikroTik"), wants=LOGIN)
        return None

    def _drawn(self, names: str) -> dict[str, dict[str, Any]]:
        """Return what ports draw, by name; nothing where the device does not measure it."""
        try:
            monitor = self._list("POST", f"{_POE}/monitor", {"numbers": names, "once": ""})
        except PermanentError:
            return {}
        return {str(each.get("name")): each for each in monitor}

    def _port(self, name: str | int) -> dict[str, Any]:
        for each in self._list("GET", _POE):
            if each.get("name") == str(name):
                return each
        raise PermanentError(f"{self.host} has no PoE port {name!r}")

    def _list(self, method: str, path: str, order: object = None) -> list[dict[str, Any]]:
        said = self._ask(method, path, order)
        if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
            raise TransientError(f"{self.host} does not tell of its PoE ports")
        return said

    def _ask(self, method: str, path: str, order: object = None) -> Any:
        """Return what an answer has. Raises: PermanentError, with the device's reason."""
        answer = self.client(self.username, self.password).request(method, path, json=order, also=(400, 404, 406))
        said = answer.json()
        if answer.status >= 400:
            words = [label(said.get(key)) for key in ("detail", "message")] if isinstance(said, dict) else []
            why = next(filter(None, words), "refused")
            raise PermanentError(f"{answer.source}: {why} ({answer.status})")
        return said


def _measured(said: object) -> float | None:
    """Return a quantity that is told with its unit behind it."""
    number = str(said).rstrip("mWVA")
    unit = str(said)[len(number) :]
    return quantity(number, _UNITS[unit]) if unit in _UNITS else None
