# SPDX-License-Identifier: MIT
"""A BMC that speaks IPMI 2.0 over LAN (RMCP+) with cipher suites 17 and 3, typed from the specification.

`BMC` is the logic, packets in and packets out; `LanBMC` listens. ipmi_sim, which nobody here wrote, is in `tests.peers`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.devices.base.device import Case, Mood

NAMES = ["ipmi"]
MOODS = [*Mood]
USER, PASSWORD = "operator", "bmc-secret$1"
ALGORITHMS = {3: (1, 1, 1), 17: (3, 4, 1)}
HASH = {3: ("sha1", 12), 17: ("sha256", 16)}
WATTS = 213
POWER = {0: "off", 1: "on", 2: "on", 3: "on", 5: "off"}


class Talk:
    """One session, as the BMC keeps it."""

    def __init__(self, suite: int, console: bytes) -> None:
        self.suite = suite
        self.console = console
        self.id = os.urandom(4)
        self.console_random = self.random = b""
        self.role = b""
        self.k1 = self.k2 = b""
        self.sent = 0
        self.heard: set[int] = set()
        self.privilege = 2
        self.told: dict[int, bytes] = {}


class BMC:
    """The logic of a BMC.

    ``suites`` are those that it knows. ``drop``: how many packets it does not hear. ``lag``: how many looks at the
    state a change takes. ``asked`` are the commands, (function, number, data), that were carried out.
    """

    def __init__(self, mood: Mood = Mood.WELL, suites: tuple[int, ...] = (17, 3)) -> None:
        self.mood = mood
        self.suites = suites
        self.outlets = {"1": "off"}
        self.username, self.password, self.key = USER, PASSWORD, b""
        self.privilege = 3  # of the user
        self.guid = bytes(range(0x20, 0x30))
        self.drop = 0
        self.deaf_to: tuple[int, int] | None = None  # (function, number) that is carried out and not answered
        self.lag = 0
        self.dcmi = True
        self.cycle = "on"  # how a power cycle ends
        self.modern = True  # whether it knows IPMI 2.0
        self.sessions = 0
        self.talks: dict[bytes, Talk] = {}
        self.asked: list[tuple[int, int, bytes]] = []
        self._late: list[str] = []

    def digest(self, talk: Talk, key: bytes, *parts: bytes) -> bytes:
        return hmac.new(key, b"".join(parts), getattr(hashlib, HASH[talk.suite][0])).digest()

    def answers(self, packet: bytes) -> list[bytes]:
        """Return what the BMC sends when a packet has come."""
        if self.drop:
            self.drop -= 1
            return []
        if self.mood is Mood.GARBLED:
            return [b"\x06\x00\xff\x07\x06\xc0nonsense" + packet[:20]]
        if packet[:4] == b"\x06\x00\xff\x06" and packet[8] == 0x80:
            return [bytes.fromhex("0600ff06 000011be 40000010 000011be 00000000 81000000 00000000")]
        if packet[:4] != b"\x06\x00\xff\x07":
            return []
        if packet[4] == 0:
            return self.outside(packet[14:])
        if not self.modern:
            return []
        kind = packet[5]
        (length,) = struct.unpack("<H", packet[14:16])
        payload = packet[16 : 16 + length]
        if kind == 0xC0:
            return self.inside(packet)
        step = {0x10: self.open, 0x12: self.rakp1, 0x14: self.rakp3}.get(kind)
        if step is None:
            return []
        said = step(payload)
        if not said:
            return []
        return [b"\x06\x00\xff\x07\x06" + bytes([kind + 1]) + bytes(8) + struct.pack("<H", len(said)) + said]

    def outside(self, message: bytes) -> list[bytes]:
        """Answer Get Channel Authentication Capabilities."""
        if message[1] >> 2 != 6 or message[5] != 0x38:
            return []
        if self.modern:
            data = bytes([0, 0x01, 0x80, 0x04, 0x02, 0, 0, 0, 0])
        elif message[6] & 0x80:
            data = bytes([0xCC])
        else:
            data = bytes([0, 0x01, 0x15, 0x04, 0, 0, 0, 0, 0])
        said = self.reply(message, data)
        return [b"\x06\x00\xff\x07" + bytes(9) + bytes([len(said)]) + said]

    @staticmethod
    def reply(message: bytes, data: bytes) -> bytes:
        """Return the answer to a message: completion code and data."""
        head = bytes([message[3], (message[1] >> 2 | 1) << 2])
        tail = bytes([message[0], message[4], message[5]]) + data
        return head + bytes([-sum(head) & 0xFF]) + tail + bytes([-sum(tail) & 0xFF])

    def open(self, payload: bytes) -> bytes:
        """Answer an Open Session Request."""
        console = payload[4:8]
        asked = (payload[12], payload[20], payload[28])
        suite = next((each for each in self.suites if ALGORITHMS[each] == asked), 0)
        if self.mood is Mood.BUSY:
            return bytes([payload[0], 0x01, 0, 0]) + console
        if not suite:
            return bytes([payload[0], 0x11, 0, 0]) + console
        talk = Talk(suite, console)
        self.talks[talk.id] = talk
        self.sessions += 1
        return bytes([payload[0], 0, 4, 0]) + console + talk.id + payload[8:32]

    def rakp1(self, payload: bytes) -> bytes:
        """Answer RAKP 1 with RAKP 2."""
        talk = self.talks.get(payload[4:8])
        if talk is None:
            return bytes([payload[0], 0x02, 0, 0, 0, 0, 0, 0])
        talk.console_random, talk.role = payload[8:24], payload[24:25] + payload[27:]
        if payload[28:] != self.username.encode():
            return bytes([payload[0], 0x0D, 0, 0]) + talk.console
        if payload[24] & 0x0F > self.privilege:
            return bytes([payload[0], 0x0A, 0, 0]) + talk.console
        talk.random = os.urandom(16)
        proof = self.digest(
            talk, self.secret, talk.console, talk.id, talk.console_random, talk.random, self.guid, talk.role
        )
        return bytes([payload[0], 0, 0, 0]) + talk.console + talk.random + self.guid + proof

    @property
    def secret(self) -> bytes:
        return b"changed" if self.mood is Mood.WRONG_PASSWORD else self.password.encode()

    def rakp3(self, payload: bytes) -> bytes:
        """Answer RAKP 3 with RAKP 4."""
        talk = self.talks.get(payload[4:8])
        if talk is None:
            return bytes([payload[0], 0x02, 0, 0, 0, 0, 0, 0])
        if payload[1] or payload[8:] != self.digest(talk, self.secret, talk.random, talk.console, talk.role):
            del self.talks[talk.id]
            return b"" if payload[1] else bytes([payload[0], 0x0F, 0, 0]) + talk.console
        session = self.digest(talk, self.key or self.secret, talk.console_random, talk.random, talk.role)
        talk.k1, talk.k2 = self.digest(talk, session, b"\x01" * 20), self.digest(talk, session, b"\x02" * 20)
        proof = self.digest(talk, session, talk.console_random, talk.id, self.guid)
        return bytes([payload[0], 0, 0, 0]) + talk.console + proof[: HASH[talk.suite][1]]

    def inside(self, packet: bytes) -> list[bytes]:
        """Answer a packet of a session, if it is signed, new and known."""
        talk = self.talks.get(packet[6:10])
        if talk is None or not talk.k1:
            return []
        size = HASH[talk.suite][1]
        if packet[-size:] != self.digest(talk, talk.k1, packet[4:-size])[:size]:
            return []
        (sequence,) = struct.unpack("<I", packet[10:14])
        if sequence == 0 or sequence in talk.heard:
            return []
        talk.heard.add(sequence)
        (length,) = struct.unpack("<H", packet[14:16])
        work = Cipher(algorithms.AES(talk.k2[:16]), modes.CBC(packet[16:32])).decryptor()
        plain = work.update(packet[32 : 16 + length]) + work.finalize()
        message = plain[: -1 - plain[-1]]
        data = self.carried_out(talk, message)
        if self.deaf_to == (message[1] >> 2, message[5]):
            return []
        return [self.sealed(talk, self.reply(message, data))]

    def sealed(self, talk: Talk, message: bytes) -> bytes:
        """Return a packet of a session."""
        talk.sent += 1
        vector = os.urandom(16)
        count = (16 - (len(message) + 1) % 16) % 16
        plain = message + bytes(range(1, count + 1)) + bytes([count])
        work = Cipher(algorithms.AES(talk.k2[:16]), modes.CBC(vector)).encryptor()
        payload = vector + work.update(plain) + work.finalize()
        signed = b"\x06\xc0" + talk.console + struct.pack("<IH", talk.sent, len(payload)) + payload
        while (len(signed) + 2) % 4:
            signed += b"\xff"
        signed += bytes([(len(signed) - 12 - len(payload)), 7])
        return b"\x06\x00\xff\x07" + signed + self.digest(talk, talk.k1, signed)[: HASH[talk.suite][1]]

    def carried_out(self, talk: Talk, message: bytes) -> bytes:
        """Carry a command out; return completion code and data."""
        function, number, data = message[1] >> 2, message[5], message[6:-1]
        self.asked.append((function, number, data))
        if (function, number) == (0x06, 0x3B):
            if data[0] > self.privilege:
                return b"\x81"
            talk.privilege = data[0]
            return bytes([0, data[0]])
        if (function, number) == (0x06, 0x3C):
            self.talks.pop(data[:4], None)
            return b"\x00"
        if (function, number) == (0x06, 0x01):
            return bytes.fromhex("00 20 81 02 45 02 bf a20200 0001 00000000")
        if (function, number) == (0x00, 0x01):
            if self._late and self.lag == 0:
                self.outlets["1"] = self._late.pop()
            self.lag = max(0, self.lag - 1)
            return bytes([0, self.outlets["1"] == "on", 0, 0])
        if (function, number) == (0x2C, 0x02) and self.dcmi:
            return b"\x00\xdc" + struct.pack("<4HIIB", WATTS, 100, 300, 200, 0, 1000, 0x40)
        if (function, number) != (0x00, 0x02):
            return b"\xc1"
        if talk.privilege < 3 or self.mood is Mood.REFUSING:
            return b"\xd4"
        if data[0] in (2, 3) and self.outlets["1"] == "off":
            return b"\xd5"
        self._late = [self.cycle if data[0] == 2 else POWER[data[0]]]
        if not self.lag:
            self.outlets["1"] = self._late.pop()
        return b"\x00"


class LanBMC(BMC):
    """A BMC that listens on a free UDP port of loopback. A slow one answers late, one that is gone not at all."""

    def __init__(self, mood: Mood = Mood.WELL, suites: tuple[int, ...] = (17, 3)) -> None:
        super().__init__(mood, suites)
        self.received = bytearray()
        self._closing = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        if self.mood is Mood.GONE:
            self._socket.close()
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self.mood is not Mood.GONE:
            self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                packet, address = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self.received += packet
            if self.mood is Mood.DEAF:
                continue
            for answer in self.answers(packet):
                if self.mood is Mood.SLOW:
                    self._closing.wait(0.02)
                self._socket.sendto(answer, address)


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a BMC."""
    with LanBMC(mood) as device:
        settings: dict[str, Any] = {"driver": name, "ip": "127.0.0.1", "port": device.port}
        settings |= {"username": USER, "password": PASSWORD}
        yield Case(
            device,
            "node1",
            settings,
            ["1"],
            ["0", "2", "-1", "x"],
            [PASSWORD],
            readings={"1": {"watts": WATTS}},
            identity=("Dell", "product 256", "", "2.45"),
        )


class ManyBMCs:
    """BMCs at addresses of their own on loopback, all at one port, and one thread for them.

    ``deaf`` are those that answer nothing, by number. While ``answering`` is not set, what they would say is held back.
    ``most`` is how many have had a session at a time.
    """

    def __init__(self, count: int) -> None:
        self.bmcs = [BMC() for _ in range(count)]
        self.addresses = [f"127.18.{number // 250}.{number % 250 + 1}" for number in range(count)]
        self.deaf: set[int] = set()
        self.answering = threading.Event()
        self.answering.set()
        self.heard: set[int] = set()
        self.most = 0
        self._closing = False
        self._sockets: list[socket.socket] = []
        self.port = 0
        for address in self.addresses:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.bind((address, self.port))
            self.port = int(sock.getsockname()[1])
            self._sockets.append(sock)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def settings(self, number: int) -> dict[str, Any]:
        """Return how one of them is configured."""
        where = {"ip": self.addresses[number], "port": self.port}
        return {"driver": "ipmi", **where, "username": USER, "password": PASSWORD}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self.answering.set()
        self._thread.join(5)
        for sock in self._sockets:
            sock.close()

    def _run(self) -> None:
        with select.epoll() as poll:
            by_descriptor = {sock.fileno(): number for number, sock in enumerate(self._sockets)}
            for descriptor in by_descriptor:
                poll.register(descriptor, select.EPOLLIN)
            while not self._closing:
                for descriptor, _ in poll.poll(0.05):
                    number = by_descriptor[descriptor]
                    packet, client = self._sockets[number].recvfrom(4096)
                    self.heard.add(number)
                    self.answering.wait(60)
                    if number not in self.deaf:
                        for answer in self.bmcs[number].answers(packet):
                            self._sockets[number].sendto(answer, client)
                self.most = max(self.most, sum(bool(bmc.talks) for bmc in self.bmcs))
