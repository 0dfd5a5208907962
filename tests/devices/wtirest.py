# SPDX-License-Identifier: MIT
"""A WTI power switch: its plugs by REST, where even a refusal is HTTP 200."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["wti_rest"]
MOODS = [*Mood]
PASSWORD = "plug pw 3"


class Switch(WebDevice):
    """Some plugs. ``stuck``: it says yes and does nothing."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood, f"super:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.stuck = False

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        if path == "/api/v2/status/status":
            known = {"vendor": "wti", "product": "NPS-8HD20-2", "totalplugs": "8", "softwareversion": "6.58"}
            return self.told({**known, "serialnumber": "12345678901234"})
        if path != "/api/v2/config/powerplug":
            return Answer(404)
        if request.method == "POST":
            order = json.loads(request.body)
            if self.mood is Mood.REFUSING or order["plug"] not in self.outlets:
                return self.told({}, "4", "plug access not allowed")
            if not self.stuck:
                self.outlets[order["plug"]] = {"on": "on", "off": "off"}[order["state"]]
            wanted = [order["plug"]]
        else:
            wanted = urllib.parse.parse_qs(query).get("plug", [*self.outlets])
        plugs = [
            {
                "plug": plug,
                "plugname": f"Outlet_{plug}",
                "state": self.outlets[plug],
                "busy": "0",
                "bootdelay": "0.5 Secs",
            }
            for plug in wanted
            if plug in self.outlets
        ]
        return self.told({"powerplugs": plugs})

    @staticmethod
    def told(what: dict[str, object], code: str = "0", words: str = "OK") -> Answer:
        """Return an answer with its status."""
        whole = {"status": {"code": code, "text": words}, **what}
        return Answer(200, json.dumps(whole), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch, without TLS."""
    with Switch(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        names = {port: f"Outlet_{port}" for port in device.outlets}
        identity = ("wti", "NPS-8HD20-2", "12345678901234", "6.58")
        bad = ["0", "97", "-1", "A1"]
        yield Case(device, "row", settings, [*names], bad, [PASSWORD], names, identity=identity)
