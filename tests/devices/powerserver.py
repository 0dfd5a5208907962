# SPDX-License-Identifier: MIT
"""OpenFlight's power-server, as that program answers: with its own words, and errors that are no JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["openflight"]
MOODS = [*Mood]
MORE = 1  # which nodes there are is asked for first
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJhZG1pbiI6bnVsbH0.c2ln"
VERBS = {"PATCH": "on", "DELETE": "off", "PUT": "restart", "GET": "status"}


class Server(WebDevice):
    """Three nodes; scripts of those in ``failing`` fail."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {"node01": "off", "node02": "off", "gateway1": "off"}
        self.failing: set[str] = set()
        self.restarts = 0

    def answer(self, request: Request) -> Answer:
        token = "changed" if self.mood is Mood.WRONG_PASSWORD else TOKEN
        if request.headers.get("authorization") != f"Bearer {token}":
            return Answer(403, "Forbidden", ("Content-Type: text/html;charset=utf-8",))
        place = urlsplit(request.target)
        if (request.method, place.path) == ("GET", "/nodes"):
            return self.data([{"type": "nodes", "id": name, "attributes": {"name": name}} for name in self.outlets])
        action = VERBS.get(request.method)
        if place.path != "/" or not action:
            return Answer(404, "<h1>Not Found</h1>")
        if self.mood is Mood.REFUSING and action != "status":
            return Answer(403, "Forbidden")
        names = parse_qs(place.query)["nodes"][0].split(",")
        if not all(name.isalnum() for name in names):
            return Answer(400, "Unrecognised nodes syntax")
        return self.data([self.result(action, name) for name in names])

    def result(self, action: str, name: str) -> dict[str, object]:
        """Carry an action out on a node."""
        missing = name not in self.outlets
        success = not missing and name not in self.failing
        said: dict[str, object] = {"action": action, "node-name": name, "missing": missing, "success": success}
        if success and action in ("on", "off"):
            self.outlets[name] = action
        self.restarts += action == "restart"
        if action == "status":
            said["running"] = self.outlets[name] == "on" if success else None
        return {"type": "commands", "id": name, "attributes": said}

    @staticmethod
    def data(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps({"data": what}), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a server."""
    with Server(mood) as device:
        settings = {"driver": name, "url": f"http://127.0.0.1:{device.port}", "token": TOKEN}
        bad = ["node[01-02]", "node01,node02", "-x", "node01&groups=all", "@all", "é"]
        yield Case(device, "cluster", settings, [*device.outlets], bad, [TOKEN])
