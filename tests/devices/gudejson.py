# SPDX-License-Identifier: MIT
"""A Gude Expert Power Control 8031 and others: the JSON page, whose parts are the bits of a mask."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice
from tests.devices.gude import SENSORS

NAMES = ["gude_json"]
MOODS = [*Mood]
PASSWORD = "gude:secret"


class ExpertPowerControl(WebDevice):
    """Eight outlets. ``page`` is what this firmware calls it; ``blocked``: somebody else uses the pages."""

    def __init__(self, mood: Mood = Mood.WELL, login: str = "", page: str = "/statusjsn.js") -> None:
        super().__init__(mood, login)
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.names = {port: f"Power Port {port}" for port in self.outlets}
        self.page = page
        self.blocked = False
        self.obeys = True
        self.metered = True

    def group(self) -> dict[str, object]:
        """Return what a complex sensor is: the bank first, then its ports."""
        fields = [
            {"name": "Voltage", "unit": "V"},
            {"name": "Current", "unit": "A"},
            {"name": "ActivePower", "unit": "W"},
        ]
        ports = [{"name": name, "id": port} for port, name in self.names.items()]
        properties = [{"name": "Bank A", "groups": [[{"name": "Bank A", "id": "A"}], ports]}]
        return {"type": 20, "num": 1, "groups": [{"fields": fields}, {"fields": fields[1:]}], "properties": properties}

    def group_values(self) -> dict[str, object]:
        """Return what it reads."""
        bank, port = [{"v": 230}, {"v": 1.2}, {"v": 240}], [{"v": 0.15}, {"v": 30.5}]
        return {"type": 20, "num": 1, "values": [[[bank], [port] * len(self.names)]]}

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        if path != self.page:
            return Answer(404)
        if self.blocked:
            return Answer(200, "<html>Device is blocked by another user with IP 192.0.2.9</html>")
        said = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        if said.get("cmd") == "1":
            if self.mood is Mood.REFUSING:
                return Answer(403)
            if said["p"] in self.outlets and said["s"] in ("0", "1") and self.obeys:
                self.outlets[said["p"]] = "on" if said["s"] == "1" else "off"
        wanted = int(said.get("components", "0"))
        values, described = [*SENSORS["sensor_values"]], [*SENSORS["sensor_descr"]]
        if self.metered and wanted & 0x800000:
            values, described = [*values, self.group_values()], [*described, self.group()]
        told: dict[str, object] = {}
        if wanted & 0x1:
            told["outputs"] = [
                {
                    "name": self.names[port],
                    "state": int(state == "on"),
                    "type": 1,
                    "batch": [0, 0, 0, 0, 0],
                    "wdog": [0],
                }
                for port, state in self.outlets.items()
            ]
        if wanted & 0x4000:
            told["sensor_values"] = values
        if wanted & 0x10000:
            told["sensor_descr"] = described
        return Answer(200, json.dumps(told))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device that wants a login."""
    with ExpertPowerControl(mood, f"admin:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}") as device:
        place = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "admin", "password": PASSWORD}
        inlets = {"Input 1": {"watts": 117, "volts": 230, "amps": 0.51, "watt_hours": 12345}}
        readings = {port: {"watts": 30.5, "amps": 0.15} for port in device.outlets}
        bad = ["0", "49", "-1", "x", "1&s=0"]
        yield Case(device, "gude", place, [*device.outlets], bad, [PASSWORD], device.names, readings, inlets)
