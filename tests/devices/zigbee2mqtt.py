# SPDX-License-Identifier: MIT
"""A Zigbee plug with two sockets behind zigbee2mqtt and a broker, as zigbee2mqtt's documentation has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.broker import BehindBroker
from tests.devices.base.device import Case, Mood

NAMES = ["zigbee2mqtt"]
MOODS = [mood for mood in Mood if mood is not Mood.REFUSING]  # it has no word for no
PASSWORD = "bro/ker 7"
NAME = "bench/double plug"


class Double(BehindBroker):
    """``there`` and ``bridge``: what availability says of the device, and of zigbee2mqtt; ``fails``: it does not act."""

    def __init__(self, mood: Mood = Mood.WELL, password: str = PASSWORD) -> None:
        super().__init__(mood, "pdu", password)
        self.outlets = {"1": "off", "l2": "off"}
        self.drawn: dict[str, object] = {"power": 12.5, "voltage": 230, "current": 0.05, "energy": 1.5, "power_l2": 3}
        self.there = '{"state":"online"}'
        self.bridge = "online"
        self.fails = False
        self.old: dict[str, str] = {}

    def kept(self) -> dict[str, str]:
        place = f"zigbee2mqtt/{NAME}"
        return {"zigbee2mqtt/bridge/state": self.bridge, f"{place}/availability": self.there, **self.old}

    def heard(self, topic: str, text: str) -> dict[str, str]:
        place = f"zigbee2mqtt/{NAME}"
        verb = topic.removeprefix(f"{place}/")
        if verb not in ("set", "get"):
            return {}
        order = json.loads(text)
        if self.fails:
            log = {"level": "error", "message": f"Publish '{verb}' 'state' to '{NAME}' failed: 'Error: no route'"}
            return {"zigbee2mqtt/bridge/logging": json.dumps(log)}
        for key, value in order.items():
            port = "1" if key == "state" else key.removeprefix("state_")
            if verb == "set" and port in self.outlets:
                self.outlets[port] = value.lower()
        return {place: json.dumps(self.said())}

    def said(self) -> dict[str, object]:
        """Return what is said of the device."""
        states = {"state" if port == "1" else f"state_{port}": state.upper() for port, state in self.outlets.items()}
        return {**states, **self.drawn, "linkquality": 93, "state_of_charge": None, "child_lock": "UNLOCK"}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a plug."""
    with Double(mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "topic": NAME}
        settings |= {"username": "pdu", "password": PASSWORD}
        first = {"watts": 12.5, "volts": 230.0, "amps": 0.05, "watt_hours": 1500.0}
        bad = ["0", "2", "L2", "l2/set", "+"]
        readings = {"1": first, "l2": {"watts": 3.0}}
        yield Case(device, "plug", settings, [*device.outlets], bad, [PASSWORD], readings=readings)
