# SPDX-License-Identifier: MIT
"""What fake devices share: outlets, a mood, a record of what was received, and a listening socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Mood(StrEnum):
    """How a fake device behaves. One that a family cannot have is left out of its ``MOODS``."""

    WELL = "well"
    DEAF = "deaf"  # takes the connection and never says anything
    REFUSING = "refusing"  # says no to the action, in its own words
    WRONG_PASSWORD = "wrong password"  # does not let us in
    GARBLED = "garbled"  # answers nonsense
    SLOW = "slow"  # answers correctly, a little at a time
    BUSY = "busy"  # another session holds the device
    GONE = "gone"  # nobody listens: the connection is refused


class Device:
    """A TCP device on a free loopback port. A subclass says in `converse` how it talks to one connection."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        self.mood = mood
        self.outlets: dict[str, str] = {}  # port as users name it -> "on" or "off"
        self.received = bytearray()
        self.sessions = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []

    def converse(self, connection: socket.socket) -> None:
        """Talk to one connection until it ends; read by `receive`, so that the bytes are recorded."""
        raise NotImplementedError

    def receive(self, connection: socket.socket, size: int = 4096) -> bytes:
        """Receive and record. Raises: ConnectionError at the end of the connection."""
        data = connection.recv(size)
        if not data:
            raise ConnectionError("the client has gone")
        self.received += data
        return data

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Send as the mood has it: a slow device sends piece by piece."""
        if self.mood is not Mood.SLOW:
            connection.sendall(data)
            return
        for start in range(0, len(data), 7):
            connection.sendall(data[start : start + 7])
            self.closing.wait(0.003)

    def __enter__(self) -> Self:
        if self.mood is not Mood.GONE:
            self._listener.listen()
            thread = threading.Thread(target=self._accept, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        if self.mood is not Mood.GONE:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._threads[0].join(5)  # who is about to accept would do so for whoever has the descriptor next
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):  # it is closed
                connection.shutdown(socket.SHUT_RDWR)  # so that who reads from it is told
        for thread in self._threads:
            thread.join(5)
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self.sessions += 1
            try:
                if self.mood is Mood.DEAF:
                    while True:
                        self.receive(connection)
                self.converse(connection)
            except OSError:
                pass  # the client has gone, or the test is over
            except ValueError:
                pass  # the client speaks another language, and the device hangs up


@dataclass
class Case:
    """How to reach one fake by one driver name: what stands in the configuration, and which ports there are.

    What the device has of names and meters is told as well, so that a driver is held to it; a quantity that is not
    there must be None.
    """

    device: Any  # has .outlets, .received, .sessions
    hostname: str
    settings: dict[str, Any]
    ports: list[str]
    bad_ports: list[str]
    secrets: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # port -> what the device calls it
    readings: dict[str, dict[str, float]] = field(default_factory=dict)  # port -> of OutletReading: {"watts": 12.5}
    inlets: dict[str, dict[str, float]] = field(default_factory=dict)  # name -> of InletReading
    identity: tuple[str, ...] = ()  # maker, model, serial, firmware
