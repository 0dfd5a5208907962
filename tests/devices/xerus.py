# SPDX-License-Identifier: MIT
"""A Raritan PX3 with Xerus firmware: resources by id and method, single and in bulk, as its SDK has them."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["xerus"]
MOODS = [*Mood]
MORE = 2  # which outlets there are, and which sensors they have, is asked for first
PASSWORD = "rari:tan 7"
METERS = {"activePower": 12.5, "voltage": 230.1, "current": 0.05, "activeEnergy": 1234.0}


class PX3(WebDevice):
    """Three outlets, of which the first is metered, and one inlet. ``refuses``: what it returns for an order."""

    def __init__(self, mood: Mood = Mood.WELL, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(mood, f"admin:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {"1": "off", "2": "off", "3": "off"}
        self.names = {"1": "cpu1"}
        self.refuses = 0
        self.busy: dict[str, dict[str, Any]] = {}  # outlet -> more of its state
        self.opaque = False  # whether it hands out ids that say nothing
        self.broken: set[str] = set()  # sensors that read nothing now
        self.tls = tls
        self.calls: list[tuple[str, str]] = []

    def converse(self, connection: socket.socket) -> None:
        if self.tls is None:
            super().converse(connection)
            return
        with self.tls.wrap_socket(connection, server_side=True) as secured:
            super().converse(secured)

    def answer(self, request: Request) -> Answer:
        if request.method != "POST":
            return Answer(404)
        said = json.loads(request.body)
        if said.get("jsonrpc") != "2.0":
            return Answer(400)
        if request.target == "/bulk":
            asked = said["params"]["requests"]
            assert said["method"] == "performBulk" and len(asked) <= 50
            answers = [self.called(each["rid"], each["json"]) for each in asked]
            responses = [{"json": each or {}, "statcode": 200 if each else 404} for each in answers]
            return self.told({"jsonrpc": "2.0", "result": {"responses": responses}, "id": said["id"]})
        found = self.called(request.target, said)
        return self.told(found) if found else Answer(404)

    def called(self, rid: str, frame: dict[str, Any]) -> dict[str, Any] | None:
        """Call a method of a resource; None if there is none of that id."""
        self.calls.append((rid, frame["method"]))
        returned = self.call(rid, frame["method"], frame["params"])
        if returned is NotImplemented:
            return None
        if returned is Ellipsis:
            return {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": frame["id"]}
        return {"jsonrpc": "2.0", "result": {"_ret_": returned}, "id": frame["id"]}

    def call(self, rid: str, method: str, params: dict[str, Any]) -> Any:
        """Return what a method returns; ``...`` if the resource has none of that name."""
        if rid == "/model/pdu/0":
            plate = {"manufacturer": "Raritan", "model": "PX3-5190R", "serialNumber": "1FE5800"}
            return {
                "getOutlets": [self.reference(port) for port in self.outlets],
                "getInlets": [{"rid": "/model/inlet/0", "type": "pdumodel.Inlet:3.0.0"}],
                "getMetaData": {"nameplate": plate, "fwRevision": "4.1.0.5", "hasSwitchableOutlets": True},
            }.get(method, ...)
        if rid == "/model/inlet/0":
            sensors = {name: {"rid": f"/sensor/I1/{name}"} for name in ("activePower", "voltage")}
            return {"getMetaData": {"label": "I1"}, "getSensors": {**sensors, "current": None}}.get(method, ...)
        if rid.startswith("/sensor/"):
            _, _, part, name = rid.split("/")
            value = METERS[name] * (10 if part == "I1" and name == "activePower" else 1)
            reading = {"timestamp": 7, "available": True, "valid": rid not in self.broken, "value": value}
            return reading if method == "getReading" else ...
        port = self.outlet_of(rid)
        if port not in self.outlets:
            return NotImplemented
        refuses = 5 if self.mood is Mood.REFUSING else self.refuses
        if method == "setPowerState" and not refuses:
            self.outlets[port] = "on" if params["pstate"] == 1 else "off"
        sensors = {name: {"rid": f"/sensor/{port}/{name}"} for name in METERS} if port == "1" else {}
        return {
            "setPowerState": refuses,
            "getSettings": {"name": self.names.get(port, ""), "startupState": 3, "cycleDelay": 10},
            "getState": {"available": True, "powerState": int(self.outlets[port] == "on"), **self.busy.get(port, {})},
            "getSensors": {**dict.fromkeys(METERS), **sensors, "outletState": {"rid": f"/state/{port}"}},
        }.get(method, ...)

    def reference(self, port: str) -> dict[str, str]:
        """Return how it hands out an outlet."""
        begin = "/tfwopaque/pdumodel.Outlet:3.0.0/outlet." if self.opaque else "/model/outlet/"
        rid = f"{begin}{int(port) - 1}"
        return {"rid": rid, "type": "pdumodel.Outlet:3.0.0"}

    @staticmethod
    def outlet_of(rid: str) -> str:
        """Return the outlet of an id, of any of the kinds that it takes; empty if it is none."""
        for begin in ("/model/pdu/0/outlet/", "/model/outlet/", "/tfwopaque/pdumodel.Outlet:3.0.0/outlet."):
            if rid.startswith(begin) and rid.removeprefix(begin).isdecimal():
                return str(int(rid.removeprefix(begin)) + 1)
        return ""

    @staticmethod
    def told(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps(what), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU, without TLS."""
    with PX3(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "protocol": "http", "password": PASSWORD}
        yield Case(
            device,
            "rack",
            settings,
            [*device.outlets],
            ["0", "241", "x"],
            [PASSWORD],
            names=device.names,
            readings={"1": {"watts": 12.5, "volts": 230.1, "amps": 0.05, "watt_hours": 1234.0}},
            inlets={"I1": {"watts": 125.0, "volts": 230.1}},
            identity=("Raritan", "PX3-5190R", "1FE5800", "4.1.0.5"),
        )
