# SPDX-License-Identifier: MIT
"""Recorded conversations of any device, and a TCP device that plays its side of one."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.devices.base.device import Device

DATA = Path(__file__).parents[2] / "data"


def conversation(name: str) -> list[tuple[str, str]]:
    """Return the exchanges of ``tests/data/NAME.json`` as (sent to the device, its answer)."""
    return [(exchange["tx"], exchange["rx"]) for exchange in json.loads((DATA / f"{name}.json").read_text())]


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
