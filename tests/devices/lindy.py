# SPDX-License-Identifier: MIT
"""A Lindy IPower Switch Classic 8: a string of lights switches, and a list tells of all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["LindyIPowerClassic8"]
MOODS = [mood for mood in Mood if mood is not Mood.REFUSING]

PASSWORD = "1234 and more"


class IPower(WebDevice):
    """Eight outlets, A to H; ``ons.cgi`` and ``offs.cgi`` leave those alone whose light is 0."""

    def __init__(self, mood: Mood = Mood.WELL, login: str = "") -> None:
        super().__init__(mood, "snmp:changed" if login and mood is Mood.WRONG_PASSWORD else login)
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.stuck = False

    def answer(self, request: Request) -> Answer:
        if (request.method, request.target) == ("GET", "/status.xml"):
            first = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
            states = [str(int(state == "on")) for state in self.outlets.values()]
            return Answer(200, f"<response><pot0>{','.join([*first, *states, '0', '0'])}</pot0></response>")
        order = re.fullmatch(r"/(on|off)s\.cgi\?led=([01]{24})", request.target)
        if not order or request.method != "GET":
            return Answer(404)
        for port, light in zip(self.outlets, order[2], strict=False):
            if light == "1" and not self.stuck:
                self.outlets[port] = order[1]
        return Answer(200)


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a login."""
    with IPower(mood, f"snmp:{PASSWORD}") as device:
        settings = {"driver": name, "port": device.port, "username": "snmp", "password": PASSWORD}
        yield Case(device, "127.0.0.1", settings, [*device.outlets], ["0", "9", "A"], [PASSWORD])
