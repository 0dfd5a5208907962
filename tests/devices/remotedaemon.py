# SPDX-License-Identifier: MIT
"""Another pdudaemon with one PDU, by its HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["pdudaemon", "pdudaemon_nodes"]
MOODS = [*Mood]
PORTS_ARE_NAMES = True  # whatever a PDU of the other daemon has
TOKEN = "eyJ.to.ken"


class Remote(WebDevice):
    """``lost``: how many answers to orders get lost on their way; ``problem``: what an order is answered instead."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {"1": "off", "2": "off", "relay_a": "off"}
        self.source = "device"
        self.keys: dict[str, str] = {}
        self.orders: list[str] = []
        self.lost = 0
        self.problem: tuple[int, str, str] | None = None

    def answer(self, request: Request) -> Answer:
        token = "changed" if self.mood is Mood.WRONG_PASSWORD else TOKEN
        if request.headers.get("authorization") != f"Bearer {token}":
            return self.no(401, "denied", "the token is not good")
        place = urlsplit(request.target)
        words = dict(parse_qsl(place.query, strict_parsing=bool(place.query)))
        if place.path == "/api/v1/pdus/rack7":
            return self.told({**self.about(), "outlets": [self.outlet(port) for port in self.outlets]})
        if place.path == "/api/v1/nodes":
            names = sorted(self.outlets)
            names = [name for name in names if name > words.get("after", "")][: int(words["limit"])]
            return self.told([self.node(name) for name in names])
        if "alias" in words:
            words |= {"hostname": "rack7", "port": words["alias"]}
        if words.get("hostname") != "rack7" or words.get("port") not in self.outlets:
            return self.no(503, "not-accepted", f"there is no PDU {words.get('hostname')!r}, or no such port")
        action, port = place.path.removeprefix("/power/control/"), words["port"]
        if action == "status":
            return self.told({"pdu": "rack7", "port": port, "state": self.outlets[port], "source": self.source})
        if self.mood is Mood.REFUSING:
            return self.no(502, "device-refused", "rack7: relay welded")
        key = request.headers.get("idempotency-key", f"none {len(self.keys)}")
        if key not in self.keys:
            self.keys[key] = action
            self.orders.append(f"{action} {port}")
            self.outlets[port] = action
        if self.lost:
            self.lost -= 1
            raise ConnectionError
        if self.problem:
            return self.no(*self.problem)
        return Answer(200, "OK - accepted request\n", ("X-Request-Id: 7",))

    def outlet(self, port: str) -> dict[str, object]:
        """Return what is told of an outlet."""
        drawn = {"watts": 12.5, "volts": None, "amps": 0.05, "watt_hours": None} if port == "1" else {}
        nothing = dict.fromkeys(["watts", "volts", "amps", "watt_hours"])
        name = "router" if port == "1" else None
        state = {"state": self.outlets[port], "source": self.source, "time": 1.5, "age": 0.1, "readings_age": None}
        return {"pdu": "rack7", "port": port, "name": name, "nodes": [], "locked": False, **state, **nothing, **drawn}

    def node(self, name: str) -> dict[str, object]:
        """Return what is told of a node: one with two feeds, if it is the first."""
        feeds = [self.outlet(name), {**self.outlet(name), "watts": 7.5}] if name == "1" else [self.outlet(name)]
        return {"name": name, "feeds": feeds, "state": self.outlets[name], "source": self.source, "groups": []}

    @staticmethod
    def about() -> dict[str, object]:
        """Return what is told of the PDU."""
        inlet = {"name": "total", "kind": "pdu", "watts": 100.0, "volts": 230.0, "amps": None, "watt_hours": None}
        identity = {"maker": "APC", "model": "AP8941", "serial": "5A1", "firmware": "v6", "driver": "apc_rpdu2"}
        return {"name": "rack7", "driver": "snmp", "state": "ready", "identity": identity, "inlets": [inlet]}

    @staticmethod
    def told(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps(what), ("Content-Type: application/json",))

    @staticmethod
    def no(status: int, kind: str, detail: str) -> Answer:
        """Return a problem."""
        problem = {"type": f"urn:pdudaemon:{kind}", "title": "", "status": status, "detail": detail}
        return Answer(status, json.dumps(problem), ("Content-Type: application/problem+json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run another daemon."""
    with Remote(mood) as device:
        settings = {"driver": name, "url": f"http://127.0.0.1:{device.port}", "token": TOKEN}
        if name == "pdudaemon_nodes":
            drawn = {"watts": 20.0, "amps": 0.1}
            yield Case(device, "annex", settings, [*device.outlets], ["a b", "-x"], [TOKEN], readings={"1": drawn})
            return
        settings["pdu"] = "rack7"
        yield Case(
            device,
            "annex",
            settings,
            [*device.outlets],
            ["a b", "$(id)", "-x", "a&port=2"],
            [TOKEN],
            names={"1": "router"},
            readings={"1": {"watts": 12.5, "amps": 0.05}},
            inlets={"total": {"watts": 100.0, "volts": 230.0}},
            identity=("APC", "AP8941", "5A1", "v6"),
        )
