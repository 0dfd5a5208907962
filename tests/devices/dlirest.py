# SPDX-License-Identifier: MIT
"""A Web Power Switch Pro: the REST-style API of Digital Loggers, as its description has it."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice, challenge, let_in

NAMES = ["dli_rest"]
MOODS = [*Mood]
PASSWORD = "dli+secret"
REALM = "DLI LPC"
METERS = {"Bus A Voltage (V)": 119.7, "Bus A Current (A)": 1.25, "Bus A Power (W)": 148.1, "Total Energy (kWh)": 3.2}


class ProSwitch(WebDevice):
    """Eight relays, the first of which is 0. A wish becomes true after ``lag`` questions for the state."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.names = {port: f"Outlet {port}" for port in self.outlets}
        self.lag = 0
        self.metered = True
        self._wishes: dict[str, str] = {}

    def answer(self, request: Request) -> Answer:
        if not let_in(request, REALM, "MD5", "admin", "changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD):
            return challenge(REALM, "MD5")
        path = urllib.parse.unquote(request.target)
        if path == "/restapi/meter/values/all;/=name,value/" and self.metered:
            return self.told([each for pair in METERS.items() for each in pair], 207)
        if path == "/restapi/config/=hostname,version,serial/":
            return self.told(["LPC", "1.10.20.0", "DLI0042"], 207)
        if path == "/restapi/relay/outlets/all;/=name,physical_state/":
            pairs = [(name, self.physical(port)) for port, name in self.names.items()]
            return self.told([each for pair in pairs for each in pair], 207)
        found = re.fullmatch(r"/restapi/relay/outlets/(\d+)/(state|physical_state)/", path)
        port = str(int(found[1]) + 1) if found else ""
        if found is None or port not in self.outlets:
            return Answer(404)
        if request.method == "GET":
            return self.told(self.physical(port))
        if not request.headers.get("x-csrf") or self.mood is Mood.REFUSING:
            return Answer(403)
        value = urllib.parse.parse_qs(request.body.decode()).get("value")
        if request.method != "PUT" or found[2] != "state" or value not in (["true"], ["false"]):
            return Answer(400)
        self._wishes[port] = "on" if value == ["true"] else "off"
        self.settle()
        return Answer(204)

    def physical(self, port: str) -> bool:
        """Return what a relay does."""
        told = self.outlets[port] == "on"
        self.settle()
        return told

    def settle(self) -> None:
        """Do what was wished, if it is time."""
        if self.lag:
            self.lag -= 1
        else:
            self.outlets.update(self._wishes)
            self._wishes.clear()

    @staticmethod
    def told(what: object, status: int = 200) -> Answer:
        """Return an answer."""
        return Answer(status, json.dumps(what), ("Content-Type: application/json",))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch with a password of its own, and meters."""
    with ProSwitch(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        yield Case(
            device,
            "dli",
            settings,
            [*device.outlets],
            ["0", "65", "-1", "x"],
            [PASSWORD],
            device.names,
            inlets={
                "Bus A Voltage": {"volts": 119.7},
                "Bus A Current": {"amps": 1.25},
                "Bus A Power": {"watts": 148.1},
                "Total Energy": {"watt_hours": 3200},
            },
            identity=("Digital Loggers", "", "DLI0042", "1.10.20.0"),
        )
