# SPDX-License-Identifier: MIT
"""A SynLink PDU, as the vendor's library speaks with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["synlink_rest"]
MOODS = [*Mood]
PASSWORD, TOKEN, COOKIE = "syn+secret", "synlink-token-77", "SPID=0a1b2c"
SERIAL = "1200578"


class SynLink(WebDevice):
    """Eight outlets, known by number and serial number."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.names = {port: f"Web {port}" for port in self.outlets}
        self.twice = False

    def answer(self, request: Request) -> Answer:
        if (request.method, request.target) == ("POST", "/api/login"):
            said = json.loads(request.body)
            right = {"username": "admin", "password": "changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD}
            return Answer(200, "{}", (f"Set-Cookie: {COOKIE}; Path=/",)) if said == right else Answer(401)
        known = request.headers.get("cookie") == COOKIE or request.headers.get("authorization") == f"Bearer {TOKEN}"
        if not known:
            return Answer(401)
        if (request.method, request.target) == ("GET", "/api/inlets"):
            inlet = {"id": f"1-{SERIAL}", "inletCurrentRms": 3.2, "inletVoltageRms": 119.5}
            return Answer(200, json.dumps([inlet]))
        if (request.method, request.target) == ("GET", "/api/outlets"):
            units = [SERIAL, "999"] if self.twice else [SERIAL]
            return Answer(200, json.dumps([self.outlet(port, unit) for unit in units for port in self.outlets]))
        port, _, unit = request.target.removeprefix("/api/outlets/").partition("-")
        if request.method != "PUT" or port not in self.outlets or unit != SERIAL:
            return Answer(404)
        state = json.loads(request.body).get("state")
        if self.mood is Mood.REFUSING:
            return Answer(403)
        if state not in ("ON", "OFF", "REBOOT"):
            return Answer(400)
        self.outlets[port] = state.lower()
        return Answer(200, json.dumps(self.outlet(port, unit)))

    def outlet(self, port: str, unit: str) -> dict[str, object]:
        """Return an outlet."""
        return {
            "id": f"{port}-{unit}",
            "outletName": self.names[port],
            "state": self.outlets[port].upper(),
            "outletCurrentRms": 0.25,
        }


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU with a password."""
    with SynLink(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        readings = {port: {"amps": 0.25} for port in device.outlets}
        inlets = {f"1-{SERIAL}": {"volts": 119.5, "amps": 3.2}}
        bad = ["0", "65", "-1", "x"]
        yield Case(device, "rack", settings, [*device.outlets], bad, [PASSWORD], device.names, readings, inlets)
