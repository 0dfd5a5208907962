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
MAC = "F008D1D8B8B8"
WHOLE = {"Shelly.GetStatus": "everything", "Shelly.GetConfig": "config", "Shelly.GetDeviceInfo": "info"}
METER = {"apower": 12.3, "voltage": 230.1, "current": 0.05, "aenergy": {"total": 1234.5, "by_minute": [0, 0, 0]}}


class Shelly(WebDevice):
    """Four switches. Refusing, it answers orders with ``error``, which is (code, message), and ``status``."""

    def __init__(self, mood: Mood = Mood.WELL, password: str = "") -> None:
        super().__init__(mood)
        self.password = password
        self.outlets = {str(number): "off" for number in range(4)}
        self.names = {"1": "board farm"}
        self.meters: dict[str, dict[str, Any]] = {}
        self.error = (-109, "Overtemperature")
        self.status = 500

    def answer(self, request: Request) -> Answer:
        if (request.method, request.target) == ("GET", "/shelly"):  # for anybody
            return Answer(200, json.dumps({**self.info(), "auth_en": bool(self.password)}))
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
        if frame["method"] in WHOLE:
            said["result"] = getattr(self, WHOLE[frame["method"]])()
        elif frame["method"] not in ("Switch.Set", "Switch.GetStatus"):
            said["error"] = {"code": 404, "message": f"No handler for {frame['method']}"}
        elif port not in self.outlets:
            said["error"] = {"code": -105, "message": f"Argument 'id', value {port} not found!"}
        elif frame["method"] == "Switch.Set" and self.mood is Mood.REFUSING:
            status, said["error"] = self.status, dict(zip(("code", "message"), self.error, strict=True))
        else:
            was_on = self.outlets[port] == "on"
            said["result"] = self.switch(port)
            if frame["method"] == "Switch.Set":
                self.outlets[port] = "on" if params["on"] else "off"
                said["result"] = {"was_on": was_on}
        return Answer(status, json.dumps(said, separators=(",", ":")), ("Content-Type: application/json",))

    def switch(self, port: str) -> dict[str, Any]:
        """Return the status of a switch; its meter is there on some models only."""
        on = self.outlets[port] == "on"
        return {"id": int(port), "source": "HTTP_in", "output": on, **self.meters.get(port, {})}

    def everything(self) -> dict[str, Any]:
        """Return the status of all components."""
        switches = {f"switch:{port}": self.switch(port) for port in self.outlets}
        return {"input:0": {"id": 0, "state": False}, **switches, "sys": {"mac": MAC}}

    def config(self) -> dict[str, Any]:
        """Return the configuration of all components."""
        switches = {f"switch:{port}": {"id": int(port), "name": self.names.get(port)} for port in self.outlets}
        return {**switches, "sys": {"device": {"name": "rack", "mac": MAC}}}

    def info(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return {"name": "rack", "id": SOURCE, "mac": MAC, "model": "SPSW-104PE16EU", "gen": 2, "ver": "1.4.4"}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a password."""
    with Shelly(mood, PASSWORD) as device:
        device.meters = dict.fromkeys(device.outlets, METER)
        settings = {"driver": name, "ip": "127.0.0.1", "port": str(device.port), "password": PASSWORD}
        drawn = {"watts": 12.3, "volts": 230.1, "amps": 0.05, "watt_hours": 1234.5}
        readings = dict.fromkeys(device.outlets, drawn)
        identity = ("Shelly", "SPSW-104PE16EU", MAC, "1.4.4")
        yield Case(
            device,
            "shelly",
            settings,
            [*device.outlets],
            ["4", "-1", "x"],
            [PASSWORD],
            device.names,
            readings=readings,
            identity=identity,
        )
