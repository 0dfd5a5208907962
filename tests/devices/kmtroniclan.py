# SPDX-License-Identifier: MIT
"""The KMTronic LAN board with eight relays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["kmtronic_lan"]
MOODS = [*Mood]
PASSWORD = "km+secret"


class Board(WebDevice):
    """Eight relays; the first child of its XML means nothing."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood, f"admin:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {str(number): "off" for number in range(1, 9)}

    def answer(self, request: Request) -> Answer:
        if request.target == "/status.xml":
            relays = "".join(f"<relay{port}>{int(each == 'on')}</relay{port}>\n" for port, each in self.outlets.items())
            return Answer(200, f"<response>\n<relay0>0</relay0>\n{relays}</response>")
        found = re.fullmatch(r"/FF(0[1-8])0([01])", request.target)
        if found is None:
            return Answer(404)
        if self.mood is Mood.REFUSING:
            return Answer(403)
        self.outlets[str(int(found[1]))] = "on" if found[2] == "1" else "off"
        return Answer(200, "<html></html>")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board with a password of its own."""
    with Board(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        yield Case(device, "rack", settings, [*device.outlets], ["0", "9", "-1", "x"], [PASSWORD])
