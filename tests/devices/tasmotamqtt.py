# SPDX-License-Identifier: MIT
"""A device with Tasmota firmware behind a broker: what it answers to the web, it answers here, in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.broker import BehindBroker
from tests.devices.base.device import Case, Mood
from tests.devices.tasmota import MAC, METER_OF_EACH, Tasmota

NAMES = ["tasmota-mqtt"]
MOODS = [*Mood]
PASSWORD = "bro/ker 7"
PARTS = {
    "Status": "STATUS",
    "StatusFWR": "STATUS2",
    "StatusNET": "STATUS5",
    "StatusSNS": "STATUS10",
    "StatusSTS": "STATUS11",
}


class Plug(BehindBroker):
    """A device called ``desk`` with four relays. ``there``: what its availability says; ``old``: what else is kept."""

    def __init__(self, mood: Mood = Mood.WELL, full_topic: str = "{}/desk/", password: str = PASSWORD) -> None:
        super().__init__(mood, "pdu", password)
        self.firmware = Tasmota(4)
        self.firmware.energy = METER_OF_EACH
        self.outlets = self.firmware.outlets
        self.full_topic = full_topic
        self.there = "Online"
        self.old: dict[str, str] = {}

    def kept(self) -> dict[str, str]:
        return {f"{self.full_topic.format('tele')}LWT": self.there, **self.old}

    def heard(self, topic: str, text: str) -> dict[str, str]:
        command = topic.removeprefix(self.full_topic.format("cmnd"))
        stat = self.full_topic.format("stat")
        if topic == command or self.there != "Online":
            return {}
        if command == "STATUS" and text == "0":
            whole = self.firmware.everything()
            return {f"{stat}{last}": json.dumps({part: whole[part]}) for part, last in PARTS.items()}
        refuses = self.mood is Mood.REFUSING
        said = '{"Command":"Error"}' if refuses else self.firmware.command(f"{command} {text}".rstrip())
        more = {f"{stat}{name}": str(value) for name, value in json.loads(said).items() if re.match("POWER", name)}
        return {f"{stat}RESULT": said, **more}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device."""
    with Plug(mood) as device:
        login = {"username": "pdu", "password": PASSWORD}
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "relays": 4, **login}
        yield Case(
            device,
            "desk",
            settings,
            [*device.outlets],
            ["0", "5", "x"],
            [PASSWORD],
            names={port: f"Plug {port}" for port in device.outlets},
            readings={
                port: {"watts": watts, "volts": 231.0, "amps": amps}
                for port, watts, amps in [("1", 12.0, 0.052), ("2", 0.0, 0.0), ("3", 3.0, 0.013), ("4", 0.0, 0.0)]
            },
            identity=("", "Tasmota", MAC, "13.4.0(tasmota)"),
        )
