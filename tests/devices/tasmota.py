# SPDX-License-Identifier: MIT
"""Devices with Tasmota firmware: the web command Power, as Tasmota's documentation has it."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["sonoff_s20_tasmota", "brennenstuhl_wspl01_tasmota", "tasmota"]
ALIKE = NAMES[1:]  # the same but for how many there are
MOODS = [*Mood]

PASSWORD = "tas&mota=1"
MAC = "C8:2B:96:00:11:22"
ONE_METER = {"Total": 1.234, "Yesterday": 0.1, "Power": 12, "ApparentPower": 15, "Voltage": 231, "Current": 0.052}
METER_OF_EACH = {"Total": 3.5, "Power": [12, 0, 3, 0], "Voltage": 231, "Current": [0.052, 0, 0.013, 0]}


class Tasmota(WebDevice):
    """A device with some relays. ``old``: a firmware that refuses a login with status 200."""

    def __init__(self, relays: int, mood: Mood = Mood.WELL, password: str = "", old: bool = False) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.password = password
        self.old = old
        self.set_option_26 = False
        self.words = {"on": "ON", "off": "OFF"}  # StateText
        self.names = [f"Plug {number}" for number in self.outlets]
        self.energy: dict[str, object] | None = None  # what the meter says, if there is one

    def answer(self, request: Request) -> Answer:
        url = urllib.parse.urlsplit(request.target)
        words = dict(urllib.parse.parse_qsl(url.query, strict_parsing=True))
        if url.path != "/cm" or request.method != "GET":
            return Answer(404)
        right = words.get("user") == "admin" and words.get("password") == self.password
        if self.password and (not right or self.mood is Mood.WRONG_PASSWORD):
            said = '{"WARNING":"Need user=<username>&password=<password>"}'
            return Answer(200 if self.old else 401, said)
        return Answer(200, self.command(words.get("cmnd", "")))

    def command(self, text: str) -> str:
        """Carry out a command and return its JSON."""
        if text.lower() == "status 0" and self.mood is not Mood.REFUSING:
            return json.dumps(self.everything())
        found = re.fullmatch(r"power(\d*)(?: (on|off))?", text, re.IGNORECASE)
        relay = (found and found[1]) or "1"
        if not found or relay not in self.outlets:
            return '{"Command":"Unknown"}'
        if self.mood is Mood.REFUSING:
            return '{"Command":"Error"}'
        if found[2]:
            self.outlets[relay] = found[2].lower()
        return json.dumps({self.power(relay): self.words[self.outlets[relay]]}, separators=(",", ":"))

    def power(self, relay: str) -> str:
        """Return what it calls a relay."""
        return "POWER" if len(self.outlets) == 1 and not self.set_option_26 else f"POWER{relay}"

    def everything(self) -> dict[str, object]:
        """Return what ``Status 0`` is answered."""
        sensors = {"Time": "2024-01-01T00:00:00", **({"ENERGY": self.energy} if self.energy is not None else {})}
        states = {self.power(relay): self.words[state] for relay, state in self.outlets.items()}
        return {
            "Status": {"Module": 0, "DeviceName": "desk", "FriendlyName": self.names, "Topic": "desk", "Power": "01"},
            "StatusFWR": {"Version": "13.4.0(tasmota)", "Hardware": "ESP8266EX"},
            "StatusNET": {"Hostname": "desk", "Mac": MAC},
            "StatusSNS": sensors,
            "StatusSTS": {"Time": "2024-01-01T00:00:00", "UptimeSec": 7, **states},
        }


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a web password."""
    relays = {"sonoff_s20_tasmota": 1, "brennenstuhl_wspl01_tasmota": 2, "tasmota": 4}[name]
    with Tasmota(relays, mood, PASSWORD) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "admin", "password": PASSWORD}
        if name == "tasmota":
            settings["port_count"] = relays
            device.energy = METER_OF_EACH
        else:
            device.energy = ONE_METER
        of_all = {"watts": 12.0, "volts": 231.0, "amps": 0.052, "watt_hours": 1234.0}
        pairs = zip(device.outlets, [(12.0, 0.052), (0.0, 0.0), (3.0, 0.013), (0.0, 0.0)], strict=False)
        yield Case(
            device,
            "plug",
            settings,
            [*device.outlets],
            ["0", str(relays + 1), "x"],
            [PASSWORD],
            names={port: f"Plug {port}" for port in device.outlets},
            readings={
                1: {"1": of_all},
                4: {port: {"watts": watts, "volts": 231.0, "amps": amps} for port, (watts, amps) in pairs},
            }.get(relays, {}),
            inlets={"total": of_all} if relays == 2 else {},
            identity=("", "Tasmota", MAC, "13.4.0(tasmota)"),
        )
