# SPDX-License-Identifier: MIT
"""A MikroTik switch with PoE ports: the REST API of RouterOS 7, in which all values are texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["mikrotik_poe"]
MOODS = [*Mood]
MORE = 2  # what ports draw is asked for apart, and each twice, because of the login
PASSWORD = "router:os 7"
POE = "/rest/interface/ethernet/poe"


class Switch(WebDevice):
    """Four ports, of which the first feeds something. ``obeys``: whether it does as it is told."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood, f"pdu:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {f"ether{number}": "off" for number in range(2, 6)}
        self.on_as = dict.fromkeys(self.outlets, "auto-on")
        self.comments = {"ether2": "Camera"}
        self.obeys = True

    def _judged(self, request: Request) -> Answer:
        if request.target.startswith("/rest/"):
            return super()._judged(request)
        return Answer(200, "<title>RouterOS</title>") if request.target == "/" else Answer(404)

    def answer(self, request: Request) -> Answer:
        said = json.loads(request.body) if request.body else {}
        match request.method, request.target:
            case "GET", "/rest/system/resource":
                return self.told({"board-name": "CRS112-8P-4S", "version": "7.14.2 (stable)", "uptime": "1w2d"})
            case "GET", "/rest/interface/ethernet/poe":
                return self.told([self.port_of(number, name) for number, name in enumerate(self.outlets, 2)])
            case "POST", "/rest/interface/ethernet/poe/monitor" if said.get("once") == "":
                return self.told([self.monitored(name) for name in said["numbers"].split(",")])
            case "PATCH", target if target.startswith(f"{POE}/*"):
                name = f"ether{target.removeprefix(f'{POE}/*')}"
                if name not in self.outlets:
                    return self.no(404, "Not Found", "no such item")
                if self.mood is Mood.REFUSING:
                    return self.no(400, "Bad Request", "not enough permissions (9)")
                if said["poe-out"] not in ("off", "auto-on", "forced-on"):
                    return self.no(400, "Bad Request", "input does not match any value of poe-out")
                if self.obeys:
                    self.outlets[name] = "off" if said["poe-out"] == "off" else "on"
                    self.on_as[name] = said["poe-out"] if said["poe-out"] != "off" else self.on_as[name]
                return self.told(self.port_of(int(name.removeprefix("ether")), name))
        return self.no(400, "Bad Request", "no such command or directory (poe)")

    def port_of(self, number: int, name: str) -> dict[str, str]:
        """Return what is told of a port."""
        mode = self.on_as[name] if self.outlets[name] == "on" else "off"
        comment = {"comment": self.comments[name]} if name in self.comments else {}
        return {".id": f"*{number:X}", "name": name, "poe-out": mode, "poe-priority": "10", **comment}

    @staticmethod
    def monitored(name: str) -> dict[str, str]:
        """Return what a port draws."""
        if name != "ether2":
            return {"name": name, "poe-out-status": "waiting-for-load"}
        drawn = {"poe-out-voltage": "23.9V", "poe-out-current": "82mA", "poe-out-power": "1.9W"}
        return {"name": name, "poe-out-status": "powered-on", **drawn}

    @staticmethod
    def told(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps(what), ("Content-Type: application/json",))

    @staticmethod
    def no(status: int, message: str, detail: str) -> Answer:
        """Return a refusal."""
        return Answer(status, json.dumps({"error": status, "message": message, "detail": detail}))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch, without TLS."""
    with Switch(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "protocol": "http"}
        settings |= {"username": "pdu", "password": PASSWORD}
        yield Case(
            device,
            "switch",
            settings,
            [*device.outlets],
            ["ether 2", "ether2/x", "*2", "é", "ether2,ether3"],
            [PASSWORD],
            names=device.comments,
            readings={"ether2": {"watts": 1.9, "volts": 23.9, "amps": 0.082}},
            identity=("MikroTik", "CRS112-8P-4S", "", "7.14.2 (stable)"),
        )
