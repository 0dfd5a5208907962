# SPDX-License-Identifier: MIT
"""A Shelly Pro 4PM: RPC over HTTP, as Shelly's documentation has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice, challenge, let_in

NAMES = ["shelly_gen2"]
MOODS = [*Mood]

PASSWORD = 'sh"elly\\:1'
SOURCE = "shellypro4pm-f008d1d8b8b8"


class Shelly(WebDevice):
    """Four switches. Refusing, it answers orders with ``error``, which is (code, message), and ``status``."""

    def __init__(self, mood: Mood = Mood.WELL, password: str = "") -> None:
        super().__init__(mood)
        self.password = password
        self.outlets = {str(number): "off" for number in range(4)}
        self.error = (-109, "Overtemperature")
        self.status = 500

    def answer(self, request: Request) -> Answer:
        password = "changed" if self.mood is Mood.WRONG_PASSWORD else self.password
        if self.password and not let_in(request, SOURCE, "SHA-256", "admin", password):
            return challenge(SOURCE, "SHA-256")
        if (request.method, request.target) != ("POST", "/rpc"):
            return Answer(404, "Not Found")
        frame = json.loads(request.body)
        params = frame.get("params", {})
        said: dict[str, Any] = {"id": frame["id"], "src": SOURCE}
        port = str(params.get("id"))
        status = 200
        if frame["method"] not in ("Switch.Set", "Switch.GetStatus"):
            said["error"] = {"code": 404, "message": f"No handler for {frame['method']}"}
        elif port not in self.outlets:
            said["error"] = {"code": -105, "message": f"Argument 'id', value {port} not found!"}
        elif frame["method"] == "Switch.Set" and self.mood is Mood.REFUSING:
            status, said["error"] = self.status, dict(zip(("code", "message"), self.error, strict=True))
        else:
            was_on = self.outlets[port] == "on"
            said["result"] = {"id": params["id"], "source": "HTTP_in", "output": was_on}
            if frame["method"] == "Switch.Set":
                self.outlets[port] = "on" if params["on"] else "off"
                said["result"] = {"was_on": was_on}
        return Answer(status, json.dumps(said, separators=(",", ":")), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a password."""
    with Shelly(mood, PASSWORD) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": str(device.port), "password": PASSWORD}
        yield Case(device, "shelly", settings, [*device.outlets], ["4", "-1", "x"], [PASSWORD])
