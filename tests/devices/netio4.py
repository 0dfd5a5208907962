# SPDX-License-Identifier: MIT
"""A NETIO 4: KSHELL, lines that are answered by a code, as NETIO's manual has it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["netio4"]
MOODS = [*Mood]

PASSWORD = "kshell#123"


class KShell(Device):
    """Four outputs; ``odd``: what else than 0 and 1 ``port N`` tells of some. ``bye``: what quit is answered.

    ``echo``: whether it repeats each line before the answer.
    """

    def __init__(self, mood: Mood = Mood.WELL, greeting: str = "100 HELLO E675DDA5") -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 5)}
        self.username, self.password = "admin", PASSWORD
        self.greeting = greeting
        self.negotiation = b""
        self.echo = False
        self.odd: dict[str, str] = {}
        self.bye: str | None = "110 BYE"
        self.farewells = 0

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.BUSY:
            self.say(connection, "507 TOO MANY CONNECTIONS")
            return
        if self.mood is Mood.GARBLED:
            connection.sendall(b"\x7e\x00\x9d~{\r\n" * 10)
            return
        connection.sendall(self.negotiation)
        self.say(connection, self.greeting)
        let_in = False
        unread = b""
        while True:
            line, end, rest = unread.partition(b"\r\n")
            if not end:
                unread += self.receive(connection)
                continue
            unread = rest
            words = re.sub(rb"\xff[\xfb-\xfe].", b"", line).decode().split(" ")
            if self.echo:
                self.say(connection, " ".join(words))
            if words == ["quit"]:
                self.farewells += 1
                if self.bye is not None:
                    self.say(connection, self.bye)
                return
            if words[0] == "login":
                let_in = words[1:] == [self.username, self.password] and self.mood is not Mood.WRONG_PASSWORD
                self.say(connection, "250 OK" if let_in else "503 INVALID LOGIN")
            else:
                with self.lock:
                    answer = self.answer(words) if let_in else "504 FORBIDDEN"
                self.say(connection, answer)

    def answer(self, words: list[str]) -> str:
        """Act on a line and return what it is answered."""
        if words[0] != "port":
            return "502 UNKNOWN COMMAND"
        if words[1:] == ["list"]:
            return "250 " + "".join(str(int(state == "on")) for state in self.outlets.values())
        if len(words) not in (2, 3) or words[1] not in self.outlets:
            return "501 INVALID PARAMETER"
        if len(words) == 2:
            return f"250 {self.odd.get(words[1], int(self.outlets[words[1]] == 'on'))}"
        if words[2] not in ("0", "1"):
            return "500 INVALID VALUE"
        if self.mood is Mood.REFUSING:
            return "504 FORBIDDEN"
        self.outlets[words[1]] = "on" if words[2] == "1" else "off"
        return "250 OK"

    def say(self, connection: socket.socket, line: str) -> None:
        """Send a line."""
        self.send(connection, f"{line}\r\n".encode())


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU."""
    with KShell(mood) as device:
        settings = {"driver": name, "telnetport": str(device.port), "username": "admin", "password": PASSWORD}
        yield Case(device, "127.0.0.1", settings, [*device.outlets], ["0", "5", "a", "1;quit"], [PASSWORD])
