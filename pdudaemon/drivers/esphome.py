# SPDX-License-Identifier: MIT
"""Devices with ESPHome firmware and its ``web_server``, by the REST API; a port is a switch of the device.

Source: ESPHome documentation (Web Server API); ESPHome's source for logins, answers and names.
Tested: against a fake, with Basic, Digest and no login at all.
Quirks: a switch goes by its object id (``relay_1``), since 2026.1 by its name (``Relay 1``, to be spelled
``Relay%201`` where a blank ends the port, as over TCP), on a sub-device by ``DEVICE/NAME``. An order is answered before
it is carried out, so the state is read back. Some builds know Digest, some Basic: the login is as the device asks.

    "relays": {"driver": "esphome-http", "ip": "192.0.2.61", "username": "admin", "password": "secret"},
    "192.0.2.62": {"driver": "esphome-http", "port": 8080}
"""

from __future__ import annotations

import urllib.parse

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.http import Client, Response

_LONGEST = 100
_METHODS = ("turn_on", "turn_off", "toggle")  # after a name they are no name: old firmware obeys them even to GET
_STATES = {"true": State.ON, "on": State.ON, "false": State.OFF, "off": State.OFF}


class ESPHome(NetworkDevice):
    """The port, quoted, is a part of the path."""

    models = {"esphome-http": None}

    port = tcp_port(80, "the web server")
    username = Setting(text, "", "user name of the web server")
    password = Setting(text, "", "password of the web server; there is a login only if both are given", secret=True)

    @hook
    def canonical_port(self, port: str) -> str:
        name = urllib.parse.unquote(port)
        first, *more = name.split("/")
        fits = all(part.strip(" ") and part == part.strip(" ") and part not in (".", "..") for part in (first, *more))
        fits = fits and name.isprintable() and "\ufffd" not in name and len(name) <= _LONGEST
        if not fits or len(more) > 1 or (more and more[0] in _METHODS):
            raise ValueError(f"{port!r} is not a port: the name of a switch, or DEVICE/NAME")
        return urllib.parse.quote(name)

    def port_interaction(self, command: str, port_number: str | int) -> None:
        self._ask("POST", f"/switch/{port_number}/turn_{command}")
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: str | int) -> State:
        answer = self._ask("GET", f"/switch/{port_number}")
        said = answer.json()
        state = _STATES.get(str(said.get("value", said.get("state"))).lower()) if isinstance(said, dict) else None
        if state is None:
            raise TransientError(f"{answer.source}: the answer does not tell the state of the switch")
        return state

    def _ask(self, method: str, path: str) -> Response:
        username = self.username if self.password else ""
        client = Client(self.host, self.deadline, port=self.port, username=username, password=self.password)
        answer = client.request(method, path, also=(404,))
        if answer.status == 404:
            raise PermanentError(f"{answer.source}: the device has no such switch (404)")
        return answer
