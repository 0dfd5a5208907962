# SPDX-License-Identifier: MIT
"""The server of an IOBus with one node: four outputs, and three inputs that measure."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["lxa_iobus"]
MOODS = [mood for mood in Mood if mood is not Mood.WRONG_PASSWORD]
MORE = 7  # each pin is a resource of its own
NODE = "4DO-3T-3AI-00005.00020"


class Server(WebDevice):
    """Outputs by their pins; ``measured`` are the others."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {f"OUT{number}": "off" for number in range(4)}
        self.measured = {f"AIN{number}": 1.25 for number in range(3)}

    def answer(self, request: Request) -> Answer:
        if request.target == "/nodes/":
            return self.yes([NODE])
        found = re.fullmatch(rf"/nodes/{re.escape(NODE)}/pins/(?:(\w+)/)?", request.target)
        if found is None:
            return self.no("unknown node", 404)
        pin = found[1]
        if pin is None:
            return self.yes([*self.outlets, *self.measured])
        if pin in self.measured and request.method == "GET":
            return self.yes(self.measured[pin])
        if pin not in self.outlets:
            return self.no("unknown pin", 404)
        if request.method == "POST":
            if self.mood is Mood.REFUSING:
                return self.no("node is locked")
            value = urllib.parse.parse_qs(request.body.decode()).get("value")
            if value not in (["0"], ["1"]):
                return self.no("value must be 0 or 1")
            self.outlets[pin] = "on" if value == ["1"] else "off"
            return self.yes(None)
        return self.yes(int(self.outlets[pin] == "on"))

    @staticmethod
    def yes(result: object) -> Answer:
        """Return a good answer."""
        return Answer(200, json.dumps({"code": 0, "error_message": "", "result": result}))

    @staticmethod
    def no(why: str, status: int = 200) -> Answer:
        """Return a refusal."""
        return Answer(status, json.dumps({"code": 1, "error_message": why, "result": None}))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a server."""
    with Server(mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "node": NODE}
        yield Case(device, "mux", settings, [*device.outlets], ["0", "OUT 1", "OUT0/x", "-1"])
