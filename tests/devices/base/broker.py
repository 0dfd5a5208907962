# SPDX-License-Identifier: MIT
"""Devices behind an MQTT broker: the broker's side of MQTT 3.1.1, with one device on it that says and hears.

Source: the OASIS standard MQTT 3.1.1.
"""

from __future__ import annotations

import itertools
import socket

from tests.devices.base.device import Device, Mood

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PING, PONG, LEAVE = 1, 2, 3, 4, 8, 9, 12, 13, 14
BAD_LOGIN, UNAVAILABLE = 5, 3


def packet(kind: int, content: bytes, flags: int = 0) -> bytes:
    """Return a control packet."""
    size, left = bytearray(), len(content)
    while True:
        left, digit = divmod(left, 128)
        size.append(digit | (0x80 if left else 0))
        if not left:
            return bytes([kind << 4 | flags]) + bytes(size) + content


def counted(text: str | bytes) -> bytes:
    """Return a text behind its length."""
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def fits(topic: str, wanted: str) -> bool:
    """Whether a topic is one of those that a subscription wants."""
    parts, pattern = topic.split("/"), wanted.split("/")
    if pattern[-1] == "#":
        parts, pattern = parts[: len(pattern) - 1], pattern[:-1]
    return len(parts) == len(pattern) and all(want in ("+", part) for part, want in zip(parts, pattern, strict=True))


class BehindBroker(Device):
    """A device and its broker, which lets one user in. A subclass says what is kept, and what it answers.

    ``late``: what is kept is told when something is published, and not before. ``pause``: for how many seconds the
    broker rests after the first of what is kept.
    """

    late = False
    pause = 0.0

    def __init__(self, mood: Mood = Mood.WELL, username: str = "", password: str = "") -> None:
        super().__init__(mood)
        self.username = username
        self.password = "changed" if mood is Mood.WRONG_PASSWORD else password
        self.heard_topics: list[tuple[str, str, bool]] = []  # what was published: topic, text, to be kept
        self._numbers = itertools.count(1)

    def kept(self) -> dict[str, str]:
        """Return the retained messages, by topic."""
        raise NotImplementedError

    def heard(self, topic: str, text: str) -> dict[str, str]:
        """Act on what was published; return what the device publishes then, which is not kept."""
        raise NotImplementedError

    def converse(self, connection: socket.socket) -> None:
        first = self._exactly(connection, 1)
        if first[0] >> 4 != CONNECT:
            return  # something else than MQTT, of which a broker wants to hear no more
        content = self._rest(connection)
        if not content.startswith(b"\0\x04MQTT"):
            return
        if self.mood is Mood.GARBLED:
            self.send(connection, b"\x05\x00pow\xff\xfe" * 10)
            return
        if self.mood is Mood.BUSY:
            self.send(connection, packet(CONNACK, bytes([0, UNAVAILABLE])))
            return
        if not self._let_in(content):
            self.send(connection, packet(CONNACK, bytes([0, BAD_LOGIN])))
            return
        self.send(connection, packet(CONNACK, b"\0\0"))
        wanted: list[str] = []
        while True:
            kind, flags, content = self._packet(connection)
            if kind == LEAVE:
                return
            if kind == PING:
                self.send(connection, packet(PONG, b""))
            elif kind == SUBSCRIBE:
                topics = self._topics(content[2:])
                wanted += topics
                self.send(connection, packet(SUBACK, content[:2] + bytes([1] * len(topics))))
                if not self.late:
                    self._tell(connection, topics, self.kept(), kept=True)
            elif kind == PUBLISH:
                size = int.from_bytes(content[:2], "big")
                topic, rest = content[2 : 2 + size].decode(), content[2 + size :]
                if flags & 0b110:
                    self.send(connection, packet(PUBACK, rest[:2]))
                    rest = rest[2:]
                self.heard_topics.append((topic, rest.decode(), bool(flags & 1)))
                if self.late:
                    self._tell(connection, wanted, self.kept(), kept=True)
                with self.lock:
                    said = self.heard(topic, rest.decode())
                self._tell(connection, wanted, said)

    def send(self, connection: socket.socket, data: bytes) -> None:
        pieces = 5 if self.mood is Mood.SLOW else 1
        size = len(data) // pieces + 1
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
            if self.mood is Mood.SLOW:
                self.closing.wait(0.003)

    def _tell(self, connection: socket.socket, wanted: list[str], said: dict[str, str], kept: bool = False) -> None:
        packets, rests = b"", kept and self.pause
        for topic, text in said.items():
            if any(fits(topic, each) for each in wanted):
                number = next(self._numbers).to_bytes(2, "big")
                packets += packet(PUBLISH, counted(topic) + number + text.encode(), 0b010 | kept)
            if packets and rests:
                self.send(connection, packets)
                self.closing.wait(self.pause)
                packets, rests = b"", False
        self.send(connection, packets)

    def _let_in(self, content: bytes) -> bool:
        """Whether a CONNECT has the right login; there is no will in it."""
        flags, rest = content[7], content[10:]
        words = self._words(rest)
        login = tuple(words[1:]) if flags & 0xC0 else ()
        return not self.username or login == (self.username, self.password)

    @staticmethod
    def _words(data: bytes) -> list[str]:
        found = []
        while data:
            size = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + size].decode())
            data = data[2 + size :]
        return found

    @staticmethod
    def _topics(data: bytes) -> list[str]:
        found = []
        while data:
            size = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + size].decode())
            data = data[3 + size :]
        return found

    def _packet(self, connection: socket.socket) -> tuple[int, int, bytes]:
        first = self._exactly(connection, 1)[0]
        return first >> 4, first & 0xF, self._rest(connection)

    def _rest(self, connection: socket.socket) -> bytes:
        size = shift = 0
        while True:
            digit = self._exactly(connection, 1)[0]
            size |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return self._exactly(connection, size)

    def _exactly(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.receive(connection, size - len(data))
        return data
