# SPDX-License-Identifier: MIT
"""A Home Assistant server: states and services of its REST API, as its documentation has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["home-assistant-http"]
MOODS = [*Mood]

API_KEY = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"


class HomeAssistant(WebDevice):
    """Switches by object id; their states are on, off, unavailable and unknown."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {"lab1": "off", "rack_2": "off"}
        self.names: dict[str, str] = {}
        self.obeys = True
        self.frontend = True
        self.others: dict[str, tuple[str, dict[str, str]]] = {  # entity -> state, attributes
            "sensor.lab1_power": ("12.3", {"unit_of_measurement": "W", "friendly_name": "Lab 1 power"}),
            "sensor.lab1_energy": ("1.5", {"unit_of_measurement": "kWh"}),
            "sensor.lab1_current": ("unavailable", {"unit_of_measurement": "A"}),
            "sensor.lab1_temperature": ("23.5", {"unit_of_measurement": "C"}),
            "light.desk": ("on", {"friendly_name": "Desk"}),
        }

    def answer(self, request: Request) -> Answer:
        if request.target == "/manifest.json" and self.frontend:  # for anybody
            return self._json({"name": "Home Assistant", "short_name": "Home Assistant", "start_url": "/?homescreen=1"})
        if not request.target.startswith("/api/"):
            return Answer(404, "404: Not Found")
        key = "changed" if self.mood is Mood.WRONG_PASSWORD else API_KEY
        if request.headers.get("authorization") != f"Bearer {key}":
            return Answer(401, "401: Unauthorized")
        if (request.method, request.target) == ("GET", "/api/states"):
            return self._json([*map(self._entity, self.outlets), *self._others()])
        if (request.method, request.target) == ("GET", "/api/config"):
            return self._json({"version": "2024.3.3", "location_name": "Lab"})
        entity = request.target.removeprefix("/api/states/switch.")
        if request.method == "GET" and entity != request.target:
            if entity not in self.outlets:
                return self._json({"message": "Entity not found."}, 404)
            return self._json(self._entity(entity))
        action = request.target.removeprefix("/api/services/switch/turn_")
        if request.method != "POST" or action not in ("on", "off"):
            return Answer(404, "404: Not Found")
        if self.mood is Mood.REFUSING:
            return self._json({"message": "Bad request"}, 400)
        try:
            domain, _, entity = json.loads(request.body)["entity_id"].partition(".")
        except (ValueError, KeyError):
            return self._json({"message": "Data should be valid JSON."}, 400)
        if domain != "switch" or self.outlets.get(entity, "unavailable") in ("unavailable", action) or not self.obeys:
            return self._json([])
        self.outlets[entity] = action
        return self._json([self._entity(entity)])

    def _entity(self, name: str) -> dict[str, object]:
        attributes = {"friendly_name": self.names[name]} if name in self.names else {}
        return {"entity_id": f"switch.{name}", "state": self.outlets[name], "attributes": attributes}

    def _others(self) -> list[dict[str, object]]:
        return [
            {"entity_id": entity, "state": state, "attributes": attributes}
            for entity, (state, attributes) in self.others.items()
        ]

    @staticmethod
    def _json(said: object, status: int = 200) -> Answer:
        return Answer(status, json.dumps(said, separators=(",", ":")), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a server with two switches."""
    with HomeAssistant(mood) as device:
        device.names = {"lab1": "Lab 1"}
        settings = {"driver": name, "hostname": "127.0.0.1", "port": str(device.port), "api_key": API_KEY}
        settings["sensors"] = {
            "switch.lab1": {
                "watts": "sensor.lab1_power",
                "watt_hours": "lab1_energy",
                "amps": "lab1_current",
                "volts": "lab1_temperature",
            }
        }
        bad = ["light.lab1", "lab-1", "switch.", "switch.switch.lab1", "lab1/../x", "lab1?x"]
        yield Case(
            device,
            "home",
            settings,
            [*device.outlets],
            bad,
            [API_KEY],
            names=device.names,
            readings={"lab1": {"watts": 12.3, "watt_hours": 1500}},
            identity=("", "Home Assistant", "", "2024.3.3"),
        )
