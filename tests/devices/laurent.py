# SPDX-License-Identifier: MIT
"""A Laurent-112: lines over TCP, with news of its own between them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["laurent"]
MOODS = [mood for mood in Mood if mood is not Mood.BUSY]
PASSWORD = "laurent7"


class Board(Device):
    """Twelve relays. ``protected``: whether it wants a password. ``news``: what it tells before each answer."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 13)}
        self.protected = True
        self.news = "#FLG,0,1"
        self.obeys = True

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.GARBLED:
            connection.sendall(b"\x7e\x00\x9d~{\r\n" * 10)
            return
        self.send(connection, b"Jconfig from FLASH\r\n")
        let_in = not self.protected
        unread = b""
        while True:
            line, end, rest = unread.partition(b"\r\n")
            if not end:
                unread += self.receive(connection)
                continue
            unread = rest
            said = line.decode()
            if found := re.fullmatch(r"\$KE,PSW,SET,(.*)", said):
                let_in = found[1] == PASSWORD and self.mood is not Mood.WRONG_PASSWORD
                answer = f"#PSW,SET,{'OK' if let_in else 'ERR'}"
            elif said == "$KE":
                answer = "#OK"
            elif not let_in:
                answer = "#Access denied. Password is needed."
            else:
                with self.lock:
                    answer = self.answer(said)
            self.send(connection, f"{self.news}\r\n{answer}\r\n".encode())

    def answer(self, line: str) -> str:
        """Act on a line and return what it is answered."""
        if line == "$KE,INF":
            return "#INF,Laurent-112,LR02,1234-5678"
        if line == "$KE,RDR,ALL":
            return "#RDR,ALL," + "".join(str(int(state == "on")) for state in self.outlets.values())
        found = re.fullmatch(r"\$KE,REL,(\d+),([01])", line)
        if found is None:
            return "#ERR"
        if found[1] not in self.outlets or self.mood is Mood.REFUSING:
            return "#REL,ERR"
        if self.obeys:
            self.outlets[found[1]] = "on" if found[2] == "1" else "off"
        return "#REL,OK"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board that is protected."""
    with Board(mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "tcpport": device.port, "password": PASSWORD}
        identity = ("KernelChip", "Laurent-112", "1234-5678", "LR02")
        yield Case(device, "relays", settings, [*device.outlets], ["0", "33", "-1", "x"], [PASSWORD], identity=identity)
