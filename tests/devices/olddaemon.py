# SPDX-License-Identifier: MIT
"""A stand-in for the existing daemon, which records what it is sent, and answers whatever it is given."""

from __future__ import annotations

import socket
import struct

from tests.devices.base.device import Device


class OldDaemon(Device):
    """Answers every request with what it is given, piece by piece, and then closes, resets or holds the connection."""

    def __init__(self, *pieces: bytes, end: str = "close", pause: float = 0.05) -> None:
        super().__init__()
        self.pieces = pieces
        self.end = end
        self.pause = pause

    def converse(self, connection: socket.socket) -> None:
        self.receive(connection)
        for number, piece in enumerate(self.pieces):
            self.closing.wait(self.pause if number else 0)
            connection.sendall(piece)
        if self.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while self.end == "hold":
            self.receive(connection)
