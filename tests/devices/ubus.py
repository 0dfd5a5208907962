# SPDX-License-Identifier: MIT
"""An OpenWrt switch with realtek-poe: JSON-RPC at ``/ubus``, sessions, and the object ``poe``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["ubus"]
MOODS = [*Mood]

PASSWORD = "open wrt"
NOBODY = "00000000000000000000000000000000"
SESSION = "c1ed6c7b025d0caca723a816fa61b668"
DENIED = {"error": {"code": -32002, "message": "Access denied"}}


class Switch(WebDevice):
    """Eight ports. With ``login`` nobody else may touch them; ``plain``: states as older versions tell them."""

    def __init__(self, mood: Mood = Mood.WELL, login: bool = False, plain: bool = False) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.allowed = SESSION if login else NOBODY
        self.plain = plain
        self.about = {"firmware": "v17.1", "budget": 77.0, "consumption": 3.1}
        self.consumption = {"2": 3.1}  # W, by port; where it is told
        self.words = {"on": "Delivering power", "off": "Disabled"}

    def answer(self, request: Request) -> Answer:
        if (request.method, request.target) != ("POST", "/ubus"):
            return Answer(404)
        asked = json.loads(request.body)
        assert (asked["jsonrpc"], asked["method"]) == ("2.0", "call")
        said = {"jsonrpc": "2.0", "id": asked["id"], **self.call(*asked["params"])}
        return Answer(200, json.dumps(said, separators=(",", ":")), ("Content-Type: application/json",))

    def call(self, session: str, thing: str, method: str, words: dict[str, Any]) -> dict[str, Any]:
        """Carry out a call."""
        if (thing, method) == ("session", "login"):
            right = (words["username"], words["password"]) == ("power", PASSWORD)
            if not right or self.mood is Mood.WRONG_PASSWORD:
                return {"result": [6]}
            return {"result": [0, {"ubus_rpc_session": SESSION, "timeout": words["timeout"], "acls": {}}]}
        if thing != "poe" or session != self.allowed:
            return DENIED
        if method == "info":
            ports = {f"lan{port}": self.shown(port) for port in self.outlets}
            return {"result": [0, {**self.about, "ports": ports}]}
        port = words["port"].removeprefix("lan")
        if method != "manage" or port not in self.outlets or self.mood is Mood.REFUSING:
            return {"result": [2]}
        self.outlets[port] = "on" if words["enable"] is True else "off"
        return {"result": [0]}

    def shown(self, port: str) -> object:
        """Return how a port is told."""
        status = self.words[self.outlets[port]]
        drawn = {"consumption": self.consumption[port]} if port in self.consumption else {}
        return status if self.plain else {"priority": 2, "status": status, **drawn}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch that wants a login."""
    with Switch(mood, login=True) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "power", "password": PASSWORD}
        yield Case(
            device,
            "switch",
            settings,
            [*device.outlets],
            ["a/b", "1.1", "1-2"],
            [PASSWORD, SESSION],
            names={port: f"lan{port}" for port in device.outlets},
            readings={"2": {"watts": 3.1}},
            identity=("", "", "", "v17.1"),
        )
