# SPDX-License-Identifier: MIT
"""An IP Power 9850: ``set.cmd`` with four outlets called p61 to p64, as the manual of the 9258S has it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["ip9850"]
MOODS = [mood for mood in Mood if mood is not Mood.REFUSING]

PASSWORD = "s3cr&t=401"


class IPPower(WebDevice):
    """A login goes in the query; a wrong one is told within a page. ``echoes``: a command is answered with states."""

    def __init__(self, mood: Mood = Mood.WELL, password: str = PASSWORD, page: str = "<html>{}</html>") -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 5)}
        self.password = password
        self.page = page
        self.separator = ","
        self.echoes = True
        self.stuck = False

    def answer(self, request: Request) -> Answer:
        url = urllib.parse.urlsplit(request.target)
        words = dict(urllib.parse.parse_qsl(url.query, strict_parsing=True))
        if url.path != "/set.cmd" or request.method != "GET":
            return Answer(404)
        right = words.pop("user", "") == "admin" and words.pop("pass", "") == self.password
        if self.password and (not right or self.mood is Mood.WRONG_PASSWORD):
            return Answer(200, "<html>401 Unauthorized</html>")
        command = words.pop("cmd", "")
        if command == "getpower":
            return Answer(200, self.states([*self.outlets]))
        if command != "setpower":
            return Answer(400)
        ports = [name.removeprefix("p6") for name in words]
        for port, value in zip(ports, words.values(), strict=True):
            if not self.stuck:
                self.outlets[port] = {"1": "on", "0": "off"}[value]
        return Answer(200, self.states(ports) if self.echoes else "<html>OK</html>")

    def states(self, ports: list[str]) -> str:
        """Return a page that tells of some outlets."""
        return self.page.format(self.separator.join(f"p6{port}={int(self.outlets[port] == 'on')}" for port in ports))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a login."""
    with IPPower(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "admin", "password": PASSWORD}
        yield Case(device, "desk", settings, [*device.outlets], ["0", "5", "a", "p61"], [PASSWORD])
