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
MOODS = [*Mood]

PASSWORD = "tas&mota=1"


class Tasmota(WebDevice):
    """A device with some relays. ``old``: a firmware that refuses a login with status 200."""

    def __init__(self, relays: int, mood: Mood = Mood.WELL, password: str = "", old: bool = False) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.password = password
        self.old = old
        self.set_option_26 = False
        self.words = {"on": "ON", "off": "OFF"}  # StateText

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
        found = re.fullmatch(r"power(\d*)(?: (on|off))?", text, re.IGNORECASE)
        relay = (found and found[1]) or "1"
        if not found or relay not in self.outlets:
            return '{"Command":"Unknown"}'
        if self.mood is Mood.REFUSING:
            return '{"Command":"Error"}'
        if found[2]:
            self.outlets[relay] = found[2].lower()
        name = "POWER" if len(self.outlets) == 1 and not self.set_option_26 else f"POWER{relay}"
        return json.dumps({name: self.words[self.outlets[relay]]}, separators=(",", ":"))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a web password."""
    relays = {"sonoff_s20_tasmota": 1, "brennenstuhl_wspl01_tasmota": 2, "tasmota": 4}[name]
    with Tasmota(relays, mood, PASSWORD) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "admin", "password": PASSWORD}
        if name == "tasmota":
            settings["port_count"] = relays
        yield Case(device, "plug", settings, [*device.outlets], ["0", str(relays + 1), "x"], [PASSWORD])
