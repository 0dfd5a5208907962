# SPDX-License-Identifier: MIT
"""A device with ESPHome firmware behind a broker, as ESPHome's documentation has it: it says a state when that changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.broker import BehindBroker
from tests.devices.base.device import Case, Mood

NAMES = ["esphome-mqtt"]
MOODS = [mood for mood in Mood if mood is not Mood.REFUSING]  # it has no word for no
PASSWORD = "bro/ker 7"


class Relays(BehindBroker):
    """Two switches of a device ``lab/bench``. ``there``: what is kept of its availability, nothing if empty."""

    def __init__(self, mood: Mood = Mood.WELL, password: str = PASSWORD) -> None:
        super().__init__(mood, "pdu", password)
        self.outlets = {"relay_1": "off", "relay_2": "off"}
        self.sensors = {"relay_1_power": "12.5", "relay_1_current": "nan"}
        self.there = "online"
        self.obeys = True

    def kept(self) -> dict[str, str]:
        status = {"lab/bench/status": self.there} if self.there else {}
        states = {f"lab/bench/switch/{name}/state": state.upper() for name, state in self.outlets.items()}
        return {**states, **{f"lab/bench/sensor/{name}/state": said for name, said in self.sensors.items()}, **status}

    def heard(self, topic: str, text: str) -> dict[str, str]:
        found = re.fullmatch(r"lab/bench/switch/(\w+)/command", topic)
        if not found or self.outlets.get(found[1], text.lower()) == text.lower() or not self.obeys:
            return {}
        self.outlets[found[1]] = text.lower()
        return {f"lab/bench/switch/{found[1]}/state": text}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device."""
    with Relays(mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "topic": "lab/bench"}
        settings |= {"username": "pdu", "password": PASSWORD}
        settings["sensors"] = {"relay_1": {"watts": "relay_1_power", "amps": "relay_1_current"}}
        bad = ["Relay 1", "relay_1/state", "+", "#", "é"]
        yield Case(device, "bench", settings, [*device.outlets], bad, [PASSWORD], readings={"relay_1": {"watts": 12.5}})
