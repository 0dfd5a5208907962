# SPDX-License-Identifier: MIT
"""Recorded conversations of any device, and TCP devices that play their side of one."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from tests.devices.base.device import Device

DATA = Path(__file__).parents[2] / "data"


def conversation(name: str) -> list[tuple[str, str]]:
    """Return the exchanges of ``tests/data/NAME.json`` as (sent to the device, its answer)."""
    return [(exchange["tx"], exchange["rx"]) for exchange in json.loads((DATA / f"{name}.json").read_text())]


def replay(exchanges: list[tuple[bytes, bytes]], port: int) -> None:
    """Play the client's side of a conversation to a device on TCP, which has to answer to the letter."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        for asked, said in exchanges:
            client.sendall(asked)
            assert exactly(client, len(said)) == said


def exactly(client: socket.socket, size: int) -> bytes:
    """Receive so many bytes, in however many pieces they come; fewer if the device hangs up."""
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def replay_on_line(exchanges: list[tuple[bytes, bytes]], path: str) -> None:
    """Play the client's side of a conversation to a device on a serial line, which has to answer to the letter."""
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    for asked, said in exchanges:
        os.write(line, asked)
        heard = b""
        while len(heard) < len(said):
            heard += os.read(line, 100)
        assert heard == said
    os.close(line)


class Scripted(Device):
    """Plays the device's side of a conversation of bytes: expects each to the letter."""

    def __init__(self, exchanges: list[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self.exchanges = exchanges
        self.played = 0

    def converse(self, connection: socket.socket) -> None:
        for asked, said in self.exchanges:
            heard = b""
            while len(heard) < len(asked):
                heard += self.receive(connection, len(asked) - len(heard))
            if heard != asked:
                return
            self.played += 1
            connection.sendall(said)


class Puppet(Device):
    """Does what a test says with its one connection, then waits for the client to go."""

    def __init__(self, act: Callable[[Puppet, socket.socket], object]) -> None:
        super().__init__()
        self.act = act

    def converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.act(self, connection)
        while True:
            self.receive(connection)
