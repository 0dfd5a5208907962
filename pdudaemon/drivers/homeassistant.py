# SPDX-License-Identifier: MIT
"""Switches of a Home Assistant server, by its REST API; a port is the part of the entity's id after ``switch.``.

Source: Home Assistant documentation (REST API).
Tested: against a fake, and against Home Assistant 2024.3.
Quirks: the server itself listens on 8123. The key is a long-lived access token, made on the profile page of a user. An
order for an entity that is not there, or cannot be reached, is answered as if all were well: the state is read before
and after. All switches are told at once, whether or not something hangs on them. A sensor does not say which switch it
measures: ``sensors`` does.

    "home": {"driver": "home-assistant-http", "hostname": "192.0.2.63", "port": 8123, "api_key": "secret",
             "sensors": {"lab1": {"watts": "lab1_power", "watt_hours": "lab1_energy"}}},
    "ha.lab": {"driver": "home-assistant-http", "protocol": "https", "port": 443, "api_key": "secret"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Named, PDUDriver, hook
from pdudaemon.drivers.network import tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.drivers.recognition import CHANGE_ME, Recognised
from pdudaemon.drivers.sensors import faults as wrong_ports
from pdudaemon.drivers.sensors import measured, sensors
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, choice, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response, tls
from pdudaemon.transports.pages import Pages

_SWITCH, _SENSOR = "switch.", "sensor."
_USUAL_PORT = 8123
_STATES = {"on": State.ON, "off": State.OFF}


class HomeAssistant(PDUDriver):
    """Orders are calls of a service; a state is a resource."""

    models = {"home-assistant-http": None}
    ports = Named(
        r"[a-z0-9_]{1,100}",
        "small letters, digits and _, as after `switch.`",
        lambda port: port.lower().removeprefix(_SWITCH),
    )

    hostname = Setting(text, "", "address, if it is not the name of the PDU")
    port = tcp_port(80, "the server (usually 8123)")
    protocol = Setting(choice("http", "https"), "http", "how the API is reached")
    insecure = Setting(boolean, False, "take any certificate, and old TLS")
    api_key = Setting(text, "", "long-lived access token", secret=True, required=True)
    sensors = sensors('{"lab1": {"watts": "lab1_power"}}')

    @hook
    def faults(self) -> dict[str, str]:
        return wrong_ports(self.sensors, self.canonical_port)

    def port_interaction(self, command: str, port_number: str | int) -> None:
        source, state = self._state(port_number)
        if state == "unavailable":
            raise TransientError(f"{source}: the switch is unavailable")
        order = {"entity_id": f"{_SWITCH}{port_number}"}
        self._ask("POST", f"/api/services/switch/turn_{command}", order)
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: str | int) -> State:
        return _STATES.get(self._state(port_number)[1], State.UNKNOWN)

    def read_outlets(self) -> list[OutletReading]:
        answer = self._ask("GET", "/api/states")
        try:
            told = {entity["entity_id"]: entity for entity in answer.json()}
            return [
                OutletReading(
                    port,
                    label(entity["attributes"].get("friendly_name")),
                    _STATES.get(entity["state"], State.UNKNOWN),
                    **measured(self._measures.get(port, {}), lambda sensor: _measured(told, sensor)),
                )
                for name, entity in told.items()
                if name != (port := name.removeprefix(_SWITCH))
            ]
        except (AttributeError, LookupError, TypeError):
            raise TransientError(f"{answer.source}: the answer does not tell of the switches") from None

    def identify(self) -> Identity:
        said = self._ask("GET", "/api/config").json()
        version = said.get("version") if isinstance(said, dict) else None
        return Identity(model="Home Assistant", firmware=label(version) or "")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the page that tells browsers how to install it, or by how it asks for a token."""
        named = "Home Assistant" in str(pages.json("/manifest.json", port=_USUAL_PORT).get("name"))
        answer = pages.get("/api/", port=_USUAL_PORT)
        refused = answer is not None and answer.status == 401 and answer.text.strip() == "401: Unauthorized"
        if not named and not (refused and pages.wants_login("/api/", port=_USUAL_PORT)):
            return None
        settings = {"driver": "home-assistant-http", "port": pages.port or _USUAL_PORT, "api_key": CHANGE_ME}
        return Recognised(settings, Identity(model="Home Assistant"), wants="api_key, a long-lived access token")

    @property
    def _measures(self) -> dict[str, dict[str, str]]:
        return {self.canonical_port(port): each for port, each in self.sensors.items()}

    def _state(self, object_id: str | int) -> tuple[str, str]:
        """Return whose answer it is, as errors begin, and the state as Home Assistant calls it."""
        answer = self._ask("GET", f"/api/states/{_SWITCH}{object_id}")
        if answer.status == 404:
            raise PermanentError(f"{answer.source}: there is no such switch (404)")
        said = answer.json()
        if not isinstance(said, dict) or not isinstance(said.get("state"), str):
            raise TransientError(f"{answer.source}: the answer does not tell the state of the switch")
        return answer.source, said["state"]

    def _ask(self, method: str, path: str, order: object = None) -> Response:
        """Send a request; a 404 is an answer to a GET only."""
        secure = tls(check=not self.insecure) if self.protocol == "https" else None
        client = Client(self.hostname, self.deadline, port=self.port, secure=secure)
        also = (401, 404) if method == "GET" else (401,)
        headers = {"Authorization": f"Bearer {self.api_key}"}
        answer = client.request(method, path, json=order, headers=headers, also=also)
        if answer.status == 401:
            raise LoginRefused(f"login refused by {answer.source} (401): the api_key is not valid")
        return answer


def _measured(told: Mapping[str, Any], sensor: str) -> tuple[object, str]:
    """Return the value of a sensor, which is text, and its unit."""
    entity = told.get(_SENSOR + sensor.removeprefix(_SENSOR), {})
    return entity.get("state"), str(entity.get("attributes", {}).get("unit_of_measurement"))
