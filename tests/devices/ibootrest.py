# SPDX-License-Identifier: MIT
"""A Dataprobe iBoot-PDU: JSON over POST, with a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["iboot_rest"]
MOODS = [*Mood]
PASSWORD = "iboot-secret"


class IBoot(WebDevice):
    """Four outlets. ``tokens`` are those that are valid. ``cycling``: outlets on their way."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 5)}
        self.names = {port: f"Router {port}" for port in self.outlets}
        self.tokens: set[str] = set()
        self.logins = 0
        self.cycling: set[str] = set()

    def answer(self, request: Request) -> Answer:
        if request.method != "POST":
            return Answer(405)
        said = json.loads(request.body)
        act = {"auth": self.auth, "retrieve": self.retrieve, "control": self.control}.get(
            request.target.removeprefix("/services/").removesuffix("/")
        )
        if act is None:
            return Answer(404)
        if act != self.auth and said.get("token") not in self.tokens:
            return self.no("Invalid token")
        return act(said)

    def auth(self, said: dict[str, Any]) -> Answer:
        """Log in."""
        right = "changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD
        if (said.get("username"), said.get("password")) != ("admin", right):
            return self.no("Invalid credentials")
        self.logins += 1
        self.tokens = {f"token-{self.logins}"}
        return self.yes(token=f"token-{self.logins}")

    def retrieve(self, said: dict[str, Any]) -> Answer:
        """Tell names, states or measurements."""
        found: dict[str, Any] = {}
        if "outlets" in said:
            if not {*said["outlets"]} <= self.outlets.keys():
                return self.no("Invalid outlet")
            found["outlets"] = {port: self.state(port) for port in said["outlets"]}
        if "names" in said:
            found["names"] = {"outlets": self.names, "groups": [], "sequences": []}
        if "analog" in said:
            told = {"LC1": 1250, "LV1": 120.5}
            found["analog"] = {name: told[name] for name in said["analog"] if name in told}
        return self.yes(**found)

    def state(self, port: str) -> str:
        """Return the word for the state of an outlet."""
        return "Cycling" if port in self.cycling else self.outlets[port].capitalize()

    def control(self, said: dict[str, Any]) -> Answer:
        """Switch outlets."""
        if self.mood is Mood.REFUSING:
            return self.no("Not permitted")
        if said.get("control") != "outlet" or said.get("command") not in ("on", "off", "cycle"):
            return self.no("Invalid command")
        if not {*said["outlets"]} <= self.outlets.keys():
            return self.no("Invalid outlet")
        self.outlets.update(dict.fromkeys(said["outlets"], said["command"]))
        return self.yes(message="OK")

    @staticmethod
    def yes(**said: Any) -> Answer:
        """Return a good answer."""
        return Answer(200, json.dumps({"success": True, **said}))

    @staticmethod
    def no(message: str) -> Answer:
        """Return a refusal."""
        return Answer(200, json.dumps({"success": False, "message": message}))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU with a password."""
    with IBoot(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        inlets = {"line 1": {"volts": 120.5, "amps": 1.25}}
        bad = ["0", "33", "-1", "x"]
        yield Case(device, "rack", settings, [*device.outlets], bad, [PASSWORD], device.names, inlets=inlets)
