# SPDX-License-Identifier: MIT
"""An owserver with chips that keep what they are told, as the real one's pretended chips do not."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["owserver"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
PORTS = ("29.67C6697351FF.0", "29.67C6697351FF.7", "3A.112233445566.A", "05.010203040506")
HEAD = ">iiiiii"


class Server(Device):
    """One bus. ``pings``: how many messages say that it takes time, before each answer."""

    def __init__(self, mood: Mood = Mood.WELL, pings: int = 1) -> None:
        super().__init__(mood)
        self.outlets = dict.fromkeys(PORTS, "off")
        self.pings = pings
        self.stuck = False

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.BUSY:
            return
        heard = b""
        while True:
            heard += self.receive(connection)
            if len(heard) < 24 or len(heard) < 24 + struct.unpack(HEAD, heard[:24])[1]:
                continue
            version, length, what, flags, size, offset = struct.unpack(HEAD, heard[:24])
            assert (version, offset) == (0, 0)
            payload, heard = heard[24 : 24 + length], heard[24 + length :]
            for _ in range(self.pings):
                self.send(connection, struct.pack(HEAD, 0, -1, 0, flags, 0, 0))
            if self.mood is Mood.GARBLED:
                self.send(connection, b"HTTP/1.1 400 Bad Request\r\n\r\n")
                continue
            result, said = self.answer(what, payload, size)
            self.send(connection, struct.pack(HEAD, 0, len(said), result, flags, len(said), 0) + said)

    def answer(self, what: int, payload: bytes, size: int) -> tuple[int, bytes]:
        """Carry out a message; return what came of it."""
        path, _, value = payload.partition(b"\0")
        if what == 7 and path == b"/":
            return 0, ",".join(f"/{chip}" for chip in dict.fromkeys(port[:15] for port in PORTS)).encode()
        found = re.fullmatch(r"/uncached/(..\.[0-9A-F]{12})/PIO((?:\.\w)?)", path.decode())
        port = found[1] + found[2] if found else ""
        if port not in self.outlets or (what == 3 and self.mood is Mood.REFUSING):
            return -1, b""
        if what == 3:
            assert value in (b"0", b"1") and size == len(value)
            if not self.stuck:
                self.outlets[port] = "on" if value == b"1" else "off"
            return 0, b""
        assert what == 2
        return 1, b"1" if self.outlets[port] == "on" else b"0"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a server; its address is the name of the PDU."""
    with Server(mood) as device:
        bad = ["0", "29.67C6697351FF.8", "29.67C6697351F", "29.67C6697351FF/PIO.0", "3A.112233445566.C"]
        yield Case(device, "127.0.0.1", {"driver": name, "port": device.port}, [*PORTS], bad)
