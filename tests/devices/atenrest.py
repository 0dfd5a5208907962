# SPDX-License-Identifier: MIT
"""An ATEN PE6216: its one resource, asked for each outlet."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["aten_rest"]
MOODS = [*Mood]
PASSWORD = "aten&secret=1"


class Eco(WebDevice):
    """Four outlets. ``pending``: how often it says that an outlet is on its way."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 5)}
        self.password = "changed" if mood is Mood.WRONG_PASSWORD else PASSWORD
        self.pending = 0

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        said = dict(urllib.parse.parse_qsl(query or request.body.decode()))
        if path != "/api/outlet/relay":
            return Answer(404)
        if (said.get("usr"), said.get("pwd")) != ("administrator", self.password):
            return Answer(401)
        port = said.get("index", "")
        if port not in self.outlets:
            return Answer(400)
        if request.method == "POST":
            if self.mood is Mood.REFUSING:
                return Answer(403)
            self.outlets[port] = {"on": "on", "off": "off"}[said["method"]]
            return Answer(200, "<html>OK</html>")
        self.pending, waits = max(0, self.pending - 1), self.pending > 0
        return Answer(200, f"<outlet><{port}>{'PENDING' if waits else self.outlets[port].upper()}</{port}></outlet>")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU with four outlets."""
    with Eco(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD, "outlets": 4}
        yield Case(device, "rack", settings, [*device.outlets], ["0", "5", "-1", "x"], [PASSWORD])
