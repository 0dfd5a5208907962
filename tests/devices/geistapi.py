# SPDX-License-Identifier: MIT
"""A Geist PDU of Vertiv by its JSON API, where even a refusal is HTTP 200."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["geist_api"]
MOODS = [*Mood]
PASSWORD = "geist pw 4"
ID = "1A2B3C4D5E6F70C3"
LABELS = {"1": "Web server", "2": "Outlet 2", "3": "Outlet 3", "4": "Outlet 4"}


class PDU(WebDevice):
    """Four outlets. ``private``: nothing is read without a login. ``stuck``: it says yes and does nothing."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = dict.fromkeys(LABELS, "off")
        self.tokens: set[str] = set()
        self.logins = 0
        self.private = False
        self.stuck = False
        self.chained = False

    def answer(self, request: Request) -> Answer:
        said = json.loads(request.body) if request.method == "POST" else {"cmd": "get", "token": ""}
        if request.target == "/api/auth/admin":
            return self.account(said)
        let_in = said["token"] in self.tokens
        tree: dict[str, Any] = {
            ID: {"type": "i03", "label": "row 7", "outlet": self.told()},
            "sensor1": {"type": "t3hd"},
        }
        if self.chained:
            tree["0000000000000000"] = tree[ID]
        if said["cmd"] == "get":
            if self.private and not let_in:
                return done({}, 1001, "Not authorized")
            found = {"/api/dev": tree, f"/api/dev/{ID}/outlet": self.told()}.get(request.target)
            return done({}, 1003, "Invalid path") if found is None else done(found)
        number = request.target.removeprefix(f"/api/dev/{ID}/outlet/")
        if not let_in:
            return done({}, 1001, "Not authorized")
        port = str(int(number) + 1)
        if self.mood is Mood.REFUSING or port not in self.outlets:
            return done({}, 1002, "Outlet is locked")
        assert said["data"]["delay"] is False
        if not self.stuck:
            self.outlets[port] = {"on": "on", "off": "off"}[said["data"]["action"]]
        return done({})

    def account(self, said: dict[str, Any]) -> Answer:
        """Let a user in, or out."""
        if said["cmd"] == "logout":
            self.tokens.discard(said["token"])
            return done({})
        if said["data"]["password"] != PASSWORD or self.mood is Mood.WRONG_PASSWORD:
            return done({}, 1004, "Invalid password")
        self.logins += 1
        token = f"c0ffee{self.logins}"
        self.tokens.add(token)
        return done({"token": token, "admin": True, "control": True})

    def told(self) -> dict[str, Any]:
        """Return what is told of the outlets."""
        points = [
            ("voltage", "230.1", "V"),
            ("current", "0.19", "A"),
            ("realPower", "43", "W"),
            ("energy", "1.5", "kWh"),
        ]
        measurement = {
            str(number): {"type": kind, "value": value, "units": units, "state": "normal"}
            for number, (kind, value, units) in enumerate([*points, ("powerFactor", "98", "%")])
        }
        return {
            str(int(port) - 1): {"mode": "manual", "state": state, "label": LABELS[port], "measurement": measurement}
            for port, state in self.outlets.items()
        }


def done(data: dict[str, Any], code: int = 0, words: str = "") -> Answer:
    """Return an answer."""
    whole = {"retCode": code, "retMsg": words, "data": data}
    return Answer(200, json.dumps(whole), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU, without TLS."""
    with PDU(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        measured = {"watts": 43.0, "volts": 230.1, "amps": 0.19, "watt_hours": 1500.0}
        readings = dict.fromkeys(LABELS, measured)
        yield Case(device, "row", settings, [*LABELS], ["0", "65", "-1", "A1"], [PASSWORD], LABELS, readings)
