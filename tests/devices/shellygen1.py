# SPDX-License-Identifier: MIT
"""Shelly of the first generation, as recorded answers have them: by default a 4Pro."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["shelly_gen1"]
MOODS = [*Mood]
PASSWORD = "shelly-secret"
FIRMWARE = "20230913-113421/v1.14.0-gcb84623"
MAC = "C4402D123456"


class Shelly(WebDevice):
    """Some relays; ``meters`` and ``emeters`` are as in the answer. ``model`` is the type that it tells."""

    def __init__(self, mood: Mood = Mood.WELL, login: str = "", relays: int = 4, model: str = "SHSW-44") -> None:
        super().__init__(mood, login)
        self.outlets = {str(number): "off" for number in range(relays)}
        self.names: dict[str, str] = {"1": "board farm"}
        self.meters: list[dict[str, Any]] = [
            {"power": 12.5, "is_valid": True, "timestamp": 1, "counters": [12.5, 12, 11], "total": 6000}
        ] * relays
        self.emeters: list[dict[str, Any]] = []
        self.model = model

    def _judged(self, request: Request) -> Answer:
        if request.target == "/shelly" and self.mood in (Mood.WELL, Mood.SLOW):
            return self.told(
                {"type": self.model, "mac": MAC, "auth": bool(self.login), "fw": FIRMWARE, "num_meters": 4}
            )
        return super()._judged(request)

    def answer(self, request: Request) -> Answer:
        if request.target == "/status":
            relays = [self.relay(port) for port in self.outlets]
            return self.told({"relays": relays, "meters": self.meters, "emeters": self.emeters, "uptime": 99})
        if request.target == "/settings":
            named = [{"name": self.names.get(port), "default_state": "off"} for port in self.outlets]
            return self.told({"name": "rack", "device": {"type": self.model, "mac": MAC}, "relays": named})
        found = re.fullmatch(r"/relay/(\d+)(\?turn=(on|off|toggle))?", request.target)
        if found is None or found[1] not in self.outlets:
            return Answer(404, "Not found")
        if found[3]:
            if self.mood is Mood.REFUSING:
                return Answer(400, "Bad turn!")
            self.outlets[found[1]] = found[3]
        return self.told(self.relay(found[1]))

    def relay(self, port: str) -> dict[str, Any]:
        """Return the state of a relay."""
        on = self.outlets[port] == "on"
        return {"ison": on, "has_timer": False, "timer_remaining": 0, "overpower": False, "source": "http"}

    @staticmethod
    def told(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps(what), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a password."""
    with Shelly(mood, f"admin:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}") as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        drawn = {"watts": 12.5, "watt_hours": 100}
        yield Case(
            device,
            "shelly",
            settings,
            [*device.outlets],
            ["4", "-1", "x"],
            [PASSWORD],
            device.names,
            readings=dict.fromkeys(device.outlets, drawn),
            identity=("Shelly", "SHSW-44", MAC, FIRMWARE),
        )
