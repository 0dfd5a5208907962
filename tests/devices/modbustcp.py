# SPDX-License-Identifier: MIT
"""Relay boards with Modbus: read coils and write single coil, as the specification has them; here over TCP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["modbustcp", "waveshare_lan-8", "waveshare_lan-16", "waveshare_lan-30"]
ALIKE = NAMES[1:]  # the same but for how many there are
MOODS = [
    Mood.WELL,
    Mood.DEAF,
    Mood.REFUSING,
    Mood.GARBLED,
    Mood.SLOW,
    Mood.BUSY,
    Mood.GONE,
]


class Relays:
    """What a board does. ``reads``: "any" coils, or only "from 0" (else an exception), or "silently" only from 0.

    ``first`` is what users call the coil with address 0.
    """

    def __init__(self, coils: int, mood: Mood, reads: str = "any", first: int = 0) -> None:
        self.outlets = {str(number): "off" for number in range(first, coils + first)}
        self.mood = mood
        self.reads = reads
        self.first = first
        self.exception = 0  # what to answer to everything, if not 0
        self.stuck = False  # answers with the other value and switches nothing

    def answer(self, request: bytes) -> bytes:
        """Carry out a request; return its answer, none for silence."""
        function = request[0]
        start, number = (int.from_bytes(request[at : at + 2], "big") for at in (1, 3))
        port = str(start + self.first)
        exception = {Mood.BUSY: 6, Mood.REFUSING: 1}.get(self.mood, self.exception)
        if not exception and function == 5:
            exception = 3 if number not in (0xFF00, 0) else 0 if port in self.outlets else 2
            if not exception:
                if self.stuck:
                    return request[:3] + b"\x12\x34"
                self.outlets[port] = "on" if number else "off"
                return request
        elif not exception and function == 1:
            if start and self.reads == "silently":
                return b""
            wanted = [str(at + self.first) for at in range(start, start + number)]
            known = all(port in self.outlets for port in wanted)
            exception = 0 if known and (self.reads == "any" or not start) else 2
            if not exception:
                bits = "".join("1" if self.outlets[port] == "on" else "0" for port in wanted)
                size = (number + 7) // 8
                return bytes([1, size]) + int(bits[::-1], 2).to_bytes(size, "little")
        return bytes([function + 0x80, exception or 1])


class Board(Device):
    """One board, as `Relays` has it."""

    def __init__(
        self,
        coils: int = 8,
        mood: Mood = Mood.WELL,
        unit: int = 1,
        reads: str = "any",
        first: int = 0,
    ) -> None:
        super().__init__(mood)
        self.relays = Relays(coils, mood, reads, first)
        self.outlets = self.relays.outlets
        self.unit = unit

    def converse(self, connection: socket.socket) -> None:
        while True:
            head = self.exactly(connection, 7)
            assert head[2:4] == b"\0\0"
            request = self.exactly(connection, int.from_bytes(head[4:6], "big") - 1)
            if head[6] != self.unit:
                continue
            with self.lock:
                self.relays.mood = self.mood
                answer = self.relays.answer(request)
            if self.mood is Mood.GARBLED:
                self.send(connection, b"\x16\x03\x01\x02\x00\x01\x00\x01")
            elif answer:
                length = len(answer) + 1
                self.send(connection, head[:4] + length.to_bytes(2, "big") + head[6:] + answer)

    def exactly(self, connection: socket.socket, size: int) -> bytes:
        """Receive so many bytes."""
        data = b""
        while len(data) < size:
            data += self.receive(connection, size - len(data))
        return data


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board; its address is the name of the PDU."""
    relays = int(name.partition("-")[2] or 0)
    with Board(relays or 8, mood, first=int(relays > 0)) as device:
        settings = {"driver": name, "port": device.port}
        if relays:
            yield Case(
                device,
                "127.0.0.1",
                settings,
                [*device.outlets],
                ["0", str(relays + 1), "-1", "coil1"],
            )
        else:
            settings["coils"] = len(device.outlets)
            yield Case(
                device,
                "127.0.0.1",
                settings,
                [*device.outlets],
                ["65536", "-1", "coil1"],
            )
