# SPDX-License-Identifier: MIT
"""A tcPDU and an IP Power Socket of tinycontrol."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["tinycontrol", "tinycontrol_socket"]
MOODS = [*Mood]
PASSWORD = "tiny+secret"


class Socket(WebDevice):
    """Six outputs. ``inverted``: as older firmware tells and takes them."""

    def __init__(self, kind: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood, f"admin:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {str(number): "off" for number in range(1, 7)}
        self.kind = kind
        self.inverted = False

    def answer(self, request: Request) -> Answer:
        order, states = ("/api/v1/save/", "/api/v1/read/status/?outValues")
        if self.kind == "tinycontrol_socket":
            order, states = "/outs.cgi", "/st0.xml"
        bits = {port: int((state == "on") != self.inverted) for port, state in self.outlets.items()}
        if request.target == states:
            if self.kind == "tinycontrol":
                return Answer(200, json.dumps({f"out{port}": bit for port, bit in bits.items()}))
            return Answer(
                200, f"<response>{''.join(f'<out{port}>{bit}</out{port}>' for port, bit in bits.items())}</response>"
            )
        found = re.fullmatch(re.escape(order) + r"\?out(\d+)=([01])", request.target)
        if found is None:
            return Answer(404)
        if self.mood is Mood.REFUSING:
            return Answer(403)
        if found[1] in self.outlets:
            self.outlets[found[1]] = "on" if (found[2] == "1") != self.inverted else "off"
        return Answer(200, "OK")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device that wants a login."""
    with Socket(name, mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "admin", "password": PASSWORD}
        yield Case(device, "rack", settings, [*device.outlets], ["0", "25", "-1", "x"], [PASSWORD])
