# SPDX-License-Identifier: MIT
"""A NETIO PDU with four outputs: its JSON API, as NETIO's application note AN21 has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["netiojson"]
MOODS = [*Mood]

PASSWORD = "p@ss:/w#rd"


class Netio(WebDevice):
    """Outputs are on or off; actions that only pass (short on, short off) leave them as they were."""

    def __init__(self, mood: Mood = Mood.WELL, outputs: int = 4) -> None:
        super().__init__(mood, f"netio:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {str(number): "off" for number in range(1, outputs + 1)}
        self.metered = True

    def answer(self, request: Request) -> Answer:
        if request.target != "/netio.json":
            return Answer(404)
        if request.method == "POST":
            if self.mood is Mood.REFUSING:
                return Answer(403)
            try:
                orders = json.loads(request.body)["Outputs"]
            except (ValueError, KeyError):
                return Answer(400)
            for order in orders:
                self.act(str(order["ID"]), order["Action"])
        return Answer(200, json.dumps(self.status()), ("Content-Type: application/json",))

    def act(self, output: str, action: int) -> None:
        """Carry out one action on one output."""
        toggled = {"on": "off", "off": "on"}
        after = {0: "off", 1: "on", 4: toggled.get(self.outlets[output])}.get(action)
        if after is not None:
            self.outlets[output] = after

    def status(self) -> dict[str, object]:
        """Return what each answer has."""
        return {
            "Agent": {
                "Model": "PowerPDU 4C",
                "Version": "3.4.0",
                "JSONVer": "2.1",
                "SerialNumber": "24:A4:2C:39:31:0E",
                "NumOutputs": len(self.outlets),
            },
            "GlobalMeasure": {"Voltage": 230.1, "TotalCurrent": 78, "TotalLoad": 12, "TotalEnergy": 13265}
            if self.metered
            else {},
            "Outputs": [
                {
                    "ID": int(port),
                    "Name": f"Power output {port}",
                    "State": int(state == "on"),
                    "Action": 6,
                    "Delay": 5000,
                    **({"Current": 78, "PowerFactor": 0.68, "Load": 12, "Energy": 13265} if self.metered else {}),
                }
                for port, state in self.outlets.items()
            ],
        }


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU whose API has an account of its own."""
    with Netio(mood) as device:
        settings = {
            "driver": name,
            "ip": "127.0.0.1",
            "port": str(device.port),
            "username": "netio",
            "password": PASSWORD,
        }
        drawn = {"watts": 12, "amps": 0.078, "watt_hours": 13265}
        yield Case(
            device,
            "netio",
            settings,
            [*device.outlets],
            ["0", "5", "a"],
            [PASSWORD],
            names={port: f"Power output {port}" for port in device.outlets},
            readings=dict.fromkeys(device.outlets, drawn),
            inlets={"total": {**drawn, "volts": 230.1}},
            identity=("NETIO", "PowerPDU 4C", "24:A4:2C:39:31:0E", "3.4.0"),
        )
