# SPDX-License-Identifier: MIT
"""Older Gude Expert Power Control: pages for people, one of which has the states in its head."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["gude_ov", "gude_http"]
MOODS = [*Mood]
PASSWORD = "gude-secret"


class Pages(WebDevice):
    """Eight ports, of a model by its driver's name. ``numbered``: whether its firmware tells the numbers of ports."""

    def __init__(self, model: str, mood: Mood = Mood.WELL, login: str = "", numbered: bool = True) -> None:
        super().__init__(mood, login)
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.model = model
        self.numbered = numbered
        self.blocked = False

    def answer(self, request: Request) -> Answer:
        order = "/ov.html" if self.model == "gude_ov" else "/switch.html"
        if self.blocked:
            return Answer(200, "<html>Device is <b>blocked</b> by another user with IP 192.0.2.9</html>")
        if found := re.fullmatch(rf"{order}\?cmd=1&p=(\d+)&s=([01])", request.target):
            if self.mood is Mood.REFUSING:
                return Answer(403)
            if found[1] in self.outlets:
                self.outlets[found[1]] = "on" if found[2] == "1" else "off"
            return Answer(200, "<html>done</html>")
        if request.target == "/ov.html" and self.model == "gude_ov":
            return Answer(200, f"<html><head>{self.hidden()}</head><body>Expert Power Control NET</body></html>")
        if request.target == "/" and self.model == "gude_http":
            return Answer(200, f"<html><table>{self.shown()}</table></html>")
        return Answer(404)

    def hidden(self) -> str:
        """Return the head of the page, with the states."""
        return "".join(
            f'<meta http-equiv="powerstate" content="Power Port{f" {port}" if self.numbered else ""},{int(state == "on")}">\n'
            for port, state in self.outlets.items()
        )

    def shown(self) -> str:
        """Return the rows of the page."""
        return "".join(
            f'<tr><td><a href="/p{port}.html">Power Port {port}</a></td><td><font color="red">{state.upper()}</font></td></tr>\n'
            for port, state in self.outlets.items()
        )


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device that wants a login."""
    with Pages(name, mood, f"admin:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}") as device:
        place = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": "admin", "password": PASSWORD}
        yield Case(device, "gude", place, [*device.outlets], ["0", "25", "-1", "x", "1&s=0"], [PASSWORD])
