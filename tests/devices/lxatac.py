# SPDX-License-Identifier: MIT
"""An LXA TAC: its parts, by its OpenAPI description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["lxatac"]
MOODS = [mood for mood in Mood if mood is not Mood.WRONG_PASSWORD]
MORE = 11  # each part, and each of its meters, is a resource of its own
PATHS = {
    "dut": "/v1/dut/powered",
    "port1": "/v1/usb/host/port1/powered",
    "port2": "/v1/usb/host/port2/powered",
    "port3": "/v1/usb/host/port3/powered",
    "out_0": "/v1/output/out_0/asserted",
    "out_1": "/v1/output/out_1/asserted",
    "iobus": "/v1/iobus/powered",
}
MEASURED = {"/v1/dut/feedback/current": 0.42, "/v1/dut/feedback/voltage": 12.1}
MEASURED |= {f"/v1/usb/host/port{number}/feedback/current": 0.1 for number in (1, 2, 3)}


class TAC(WebDevice):
    """All its parts. ``fault``: why it keeps the board off. ``lag``: how often it says that it is changing."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = dict.fromkeys(PATHS, "off")
        self.fault = ""
        self.lag = 0

    def answer(self, request: Request) -> Answer:
        if request.target in MEASURED and request.method == "GET":
            return self.told({"ts": 1700000000000, "value": MEASURED[request.target]})
        if request.target == "/v1/tac/network/hostname":
            return self.told("lxatac-00042")
        port = next((port for port, path in PATHS.items() if path == request.target), "")
        if not port:
            return Answer(404)
        if request.method == "GET":
            return self.told(self.value(port))
        value = json.loads(request.body)
        if self.mood is Mood.REFUSING or value not in (
            ("On", "Off", "OffFloating") if port == "dut" else (True, False)
        ):
            return Answer(400)
        if not (port == "dut" and self.fault):
            self.outlets[port] = "on" if value in ("On", True) else "off"
        return Answer(204)

    def value(self, port: str) -> object:
        """Return what a part tells."""
        on = self.outlets[port] == "on"
        if port != "dut":
            return on
        if self.lag:
            self.lag -= 1
            return "Changing"
        return self.fault or ("On" if on else "Off")

    @staticmethod
    def told(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps(what))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a controller."""
    with TAC(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}"}
        readings = {"dut": {"amps": 0.42, "volts": 12.1}, **{f"port{number}": {"amps": 0.1} for number in (1, 2, 3)}}
        identity = ("Linux Automation", "LXA TAC", "lxatac-00042", "")
        bad = ["1", "port4", "out_2", "dut/../x"]
        yield Case(device, "tac", settings, [*device.outlets], bad, readings=readings, identity=identity)
