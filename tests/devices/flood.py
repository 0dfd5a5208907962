# SPDX-License-Identifier: MIT
"""A server that never ends what it says."""

from __future__ import annotations

import socket

from tests.devices.base.device import Device


class Flood(Device):
    """Sends a beginning, and then the same for ever, or until nobody takes it any more."""

    def __init__(self, beginning: bytes, rest: bytes) -> None:
        super().__init__()
        self.beginning = beginning
        self.rest = rest * (65536 // len(rest))
        self.sent = 0

    def converse(self, connection: socket.socket) -> None:
        self.receive(connection)
        connection.sendall(self.beginning)
        while not self.closing.is_set():
            connection.sendall(self.rest)
            self.sent += len(self.rest)
