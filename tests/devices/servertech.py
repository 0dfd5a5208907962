# SPDX-License-Identifier: MIT
"""A Switched PRO2: JAWS, the JSON API of Server Technology, over HTTP or TLS."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["servertechpro2"]
MOODS = [*Mood]

PASSWORD = "admn:pro2"


class Switched(WebDevice):
    """A PDU with two cords. It wants the header against forged requests. ``done``: how it answers an order."""

    def __init__(self, mood: Mood = Mood.WELL, done: int = 204, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(mood, f"admn:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {f"A{cord}{number}": "off" for cord in "AB" for number in range(1, 13)}
        self.done = done
        self.tls = tls
        self.stuck = False
        self.metered: frozenset[str] = frozenset()
        self.odd: dict[str, object] = {}  # outlet -> a state that is neither on nor off

    def converse(self, connection: socket.socket) -> None:
        if self.tls is None:
            super().converse(connection)
            return
        with self.tls.wrap_socket(connection, server_side=True) as secured:
            super().converse(secured)

    def answer(self, request: Request) -> Answer:
        if (request.method, request.target) == ("GET", "/jaws/monitor/outlets"):
            return self.told([self.monitored(outlet) for outlet in self.outlets])
        found = re.fullmatch(r"/jaws/(control|monitor)/outlets/(\w+)", request.target)
        if not found or found[2] not in self.outlets:
            return Answer(404)
        outlet = found[2]
        if (request.method, found[1]) == ("GET", "monitor"):
            return self.told(self.monitored(outlet))
        if (request.method, found[1]) != ("PATCH", "control"):
            return Answer(405)
        if self.mood is Mood.REFUSING:
            return Answer(403)
        if not request.headers.get("x-csrf") or request.headers.get("content-type") != "application/json":
            return Answer(400)
        if not self.stuck:
            self.outlets[outlet] = {"on": "on", "off": "off"}[json.loads(request.body)["control_action"]]
        return Answer(self.done)

    def monitored(self, outlet: str) -> dict[str, object]:
        """Return what is told of an outlet."""
        state = self.odd.get(outlet, self.outlets[outlet].capitalize())
        drawn = (
            {"current": 0.1, "active_power": 12, "voltage": 229.8, "power_factor": 0.5}
            if outlet in self.metered
            else {}
        )
        return {"id": outlet, "name": f"Outlet{outlet[2:]}", "state": state, **drawn}

    @staticmethod
    def told(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps(what, separators=(",", ":")), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU, without TLS."""
    with Switched(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "admn", "password": PASSWORD}
        bad = ["0", "1", "A", "AA/1", "AA1:", ".."]
        names = {port: f"Outlet{port[2:]}" for port in device.outlets}
        device.metered = frozenset(port for port in names if port.startswith("AA"))
        readings = {port: {"watts": 12, "volts": 229.8, "amps": 0.1} for port in device.metered}
        yield Case(device, "rack", settings, [*names], bad, [PASSWORD], names, readings)
