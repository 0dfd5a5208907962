# SPDX-License-Identifier: MIT
"""Devices with ESPHome firmware and its ``web_server``, by the REST API; a port is a switch of the device.

Source: ESPHome documentation (Web Server API); ESPHome's source for logins, answers and names.
Tested: against a fake, with Basic, Digest and no login at all.
Quirks: a switch goes by its object id (``relay_1``), since 2026.1 by its name (``Relay 1``, to be spelled ``Relay%201``
where a blank ends the port, as over TCP), on a sub-device by ``DEVICE/NAME``. An order is answered before it is carried
out, so the state is read back. Some builds know Digest, some Basic: the login is as the device asks. Events tell of all
switches at once, until half a second passes without one. A sensor does not say which switch it measures: ``sensors``
does.

    "relays": {"driver": "esphome-http", "ip": "192.0.2.61", "username": "admin", "password": "secret"},
    "192.0.2.62": {"driver": "esphome-http", "port": 8080, "sensors": {"relay_1": {"watts": "relay_1_power"}}}
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.drivers.sensors import faults as wrong_ports
from pdudaemon.drivers.sensors import measured, sensors
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_LONGEST = 100
_QUIET = 0.5  # seconds without another event after which the device has told of all
_LONGER = 4  # times as many, where it has told of less than the last time
_METHODS = ("turn_on", "turn_off", "toggle")  # after a name they are no name: old firmware obeys them even to GET
_STATES = {"true": State.ON, "on": State.ON, "false": State.OFF, "off": State.OFF}


class ESPHome(NetworkDevice):
    """The port, quoted, is a part of the path."""

    models = {"esphome-http": None}

    port = tcp_port(80, "the web server")
    username = Setting(text, "", "user name of the web server")
    password = Setting(text, "", "password of the web server; there is a login only if both are given", secret=True)
    sensors = sensors('{"relay_1": {"watts": "relay_1_power"}}')

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._known = 0  # how many entities it has told of

    @hook
    def faults(self) -> dict[str, str]:
        return wrong_ports(self.sensors, self.canonical_port)

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
        state = _STATES.get(_said(said)) if isinstance(said, dict) else None
        if state is None:
            raise TransientError(f"{answer.source}: the answer does not tell the state of the switch")
        return state

    def read_outlets(self) -> list[OutletReading]:
        for quiet in (_QUIET, _LONGER * _QUIET):
            events = self._client().request("GET", "/events", quiet=quiet)
            told = dict(_entities(events.text))
            if len(told) >= self._known:
                break
        self._known = len(told)
        switches = {name: said for (kind, name), said in told.items() if kind == "switch"}
        if not switches:
            raise TransientError(f"{events.source}: the device tells of no switch")

        def sensor(name: str) -> tuple[object, str]:
            said = told.get(("sensor", name), {})
            return said.get("value"), str(said.get("state")).rpartition(" ")[2]

        measures = {self.canonical_port(port): each for port, each in self.sensors.items()}
        readings = []
        for name, said in switches.items():
            port = urllib.parse.quote(name)
            drawn = measured(measures.get(port, {}), sensor)
            readings.append(
                OutletReading(port, label(said.get("name")), _STATES.get(_said(said), State.UNKNOWN), **drawn)
            )
        return readings

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        events = pages.get("/events", quiet=_QUIET)
        if events is None or events.headers.get_content_type() != "text/event-stream":
            return None
        told = [(name, said) for (kind, name), said in _entities(events.text) if kind == "switch"]
        outlets = [
            OutletReading(urllib.parse.quote(name), label(said.get("name")), _STATES.get(_said(said), State.UNKNOWN))
            for name, said in told
        ]
        identity = Identity(model="ESPHome")
        return Recognised({"driver": "esphome-http", **port_of(pages)}, identity, outlets) if outlets else None

    def _ask(self, method: str, path: str) -> Response:
        answer = self._client().request(method, path, also=(404,))
        if answer.status == 404:
            raise PermanentError(f"{answer.source}: the device has no such switch (404)")
        return answer

    def _client(self) -> Client:
        username = self.username if self.password else ""
        return Client(self.host, self.deadline, port=self.port, username=username, password=self.password)


def _said(entity: Mapping[str, Any]) -> str:
    return str(entity.get("value", entity.get("state"))).lower()


def _entities(events: str) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """Yield kind and name of each entity that events tell of, and what they tell. The last event may be half there."""
    for event in re.split(r"\r?\n\r?\n", events)[:-1]:
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in event.splitlines())}
        if fields.get("event") != "state":
            continue
        try:
            said = json.loads(fields.get("data", ""))
            kind, name = re.fullmatch(r"(switch|sensor)[-/](.+)", said["id"]).groups()  # type: ignore[union-attr]
        except (ValueError, LookupError, TypeError, AttributeError):  # not of those that are meant
            continue
        yield (kind, name), said
