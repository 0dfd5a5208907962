# SPDX-License-Identifier: MIT
"""Intellinet 163682: the page that switches and the list of states, as public tools have them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["intellinet"]
MOODS = [mood for mood in Mood if mood is not Mood.REFUSING]  # it obeys, or lets nobody in

PASSWORD = "Int3ll: net"


class Intellinet(WebDevice):
    """Eight outlets, from 0. ``page``: what is said to an order; ``lag``: how many readings tell the old state."""

    def __init__(self, mood: Mood = Mood.WELL, login: str = "") -> None:
        super().__init__(mood, f"{login}changed" if mood is Mood.WRONG_PASSWORD else login)
        self.outlets = {str(number): "off" for number in range(8)}
        self.page = "<html><body>pdu</body></html>"
        self.obeys = True
        self.lag = 0
        self._still: list[str] = []

    def answer(self, request: Request) -> Answer:
        url = urllib.parse.urlsplit(request.target)
        if request.method == "GET" and url.path == "/status.xml":
            return Answer(200, self._still.pop() if self._still else self.status())
        if request.method != "GET" or url.path != "/control_outlet.htm":
            return Answer(404)
        words = dict(urllib.parse.parse_qsl(url.query))
        self._still = [self.status()] * self.lag
        for port in self.outlets:
            if self.obeys and words.get(f"outlet{port}") == "1":
                self.outlets[port] = {"0": "on", "1": "off"}.get(words["op"], self.outlets[port])
        return Answer(200, self.page)

    def status(self) -> str:
        """Return the list of states."""
        outlets = "".join(f"<outletStat{port}>{state}</outletStat{port}>" for port, state in self.outlets.items())
        rest = "<cur0>0.401</cur0><stat0>normal</stat0><curBan>0.4</curBan><tempBan>25</tempBan><humBan>401</humBan>"
        return f"<response>{rest}<statBan>normal</statBan>{outlets}<userVerifyRes>0</userVerifyRes></response>"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device that wants a login on every page."""
    with Intellinet(mood, f"admin:{PASSWORD}") as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": str(device.port), "password": PASSWORD}
        yield Case(
            device,
            "intellinet",
            settings,
            [*device.outlets],
            ["8", "-1", "x"],
            [PASSWORD],
            inlets={"total": {"amps": 0.4}},
        )
