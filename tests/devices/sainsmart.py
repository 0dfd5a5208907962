# SPDX-License-Identifier: MIT
"""SainSmart relay boards: paths of digits, and answers that may come without any HTTP around them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["sainsmart"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]


class RelayBoard(WebDevice):
    """``pages``: how many pages show the relays in turn, at /42; 0: /99 tells them all in digits. ``bare``: no HTTP."""

    def __init__(self, mood: Mood = Mood.WELL, pages: int = 0, bare: bool = True) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 17)}
        self.pages = pages
        self.turn = 0
        self.bare = bare
        self.stuck = False

    def converse(self, connection: socket.socket) -> None:
        if not self.bare or self.mood is Mood.GARBLED:
            super().converse(connection)
            return
        request = self._request(connection)
        if self.mood is not Mood.BUSY:  # all its sockets are in use: it closes at once
            with self.lock:
                answer = self.answer(request)
            self.send(connection, answer.body.encode())

    def answer(self, request: Request) -> Answer:
        found = re.fullmatch(r"/30000/(\d\d)", request.target)
        if not found:
            return Answer(404)
        code = int(found[1])
        if code == 99 and not self.pages:
            return Answer(200, "".join(str(int(state == "on")) for state in self.outlets.values()))
        if code == 42 and self.pages:
            return Answer(200, self.page())
        if code < 32 and not self.stuck:
            self.outlets[str(code // 2 + 1)] = "on" if code % 2 else "off"
        return Answer(200, "<html><body>SainSmart</body></html>" if self.pages else "")

    def page(self) -> str:
        """Return the next page."""
        size = 16 // self.pages
        first = self.turn * size
        self.turn = (self.turn + 1) % self.pages
        rows = [
            f'<p>Relay-{port:02}: <font color="red">{self.outlets[str(port)].upper()}</font> <a href="/30000/05">ON</a>'
            for port in range(first + 1, first + size + 1)
        ]
        return f"<html><body>{''.join(rows)}</body></html>"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board that tells all relays in digits."""
    with RelayBoard(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}"}
        yield Case(device, "relays", settings, [*device.outlets], ["0", "17", "a"])
