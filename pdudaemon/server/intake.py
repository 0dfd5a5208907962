# SPDX-License-Identifier: MIT
"""`Intake`: the receiving side of a client's connection, with a limit to the client's slowness."""

from __future__ import annotations

import io
import math
import socket
import struct
import time
from typing import Any


class Intake(io.RawIOBase):
    """The receiving side of a connection, with one deadline for a whole request however slowly it dribbles in.

    The kernel keeps the time, for sending as well: a time-out of Python's own costs two system calls more each time.
    """

    def __init__(self, connection: socket.socket, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._seen = b""
        self._deadline = 0.0
        self._kept = patience
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            _let_kernel_time(connection, option, patience)
        self.begin()

    def begin(self) -> None:
        """Start the time of a new request."""
        self._deadline = time.monotonic() + self._patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        received = self.receive(len(buffer))
        buffer[: len(received)] = received
        return len(received)

    def receive(self, most: int = 65536, patience: float = math.inf) -> bytes:
        """Return what has come, at the latest after ``patience`` seconds; nothing at the end of the connection.

        Raises: TimeoutError, also when the time for the whole request is over.
        """
        if self._seen:
            received, self._seen = self._seen[:most], self._seen[most:]
            return received
        patience = min(patience, self._patience)
        if patience != self._kept:
            _let_kernel_time(self._connection, socket.SO_RCVTIMEO, patience)
            self._kept = patience
        try:
            received = self._connection.recv(most)
        except BlockingIOError:
            raise TimeoutError("nothing came in time") from None
        if received and time.monotonic() > self._deadline:
            raise TimeoutError("the request did not come in time")
        return received

    def unread(self, received: bytes) -> None:
        """Put back what has been received, to be received again."""
        self._seen = received + self._seen


def _let_kernel_time(connection: socket.socket, option: int, seconds: float) -> None:
    whole, fraction = divmod(seconds, 1)
    try:
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(whole), int(fraction * 1e6)))
    except OSError:  # a machine of 32 bits whose times have 64
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("qq", int(whole), int(fraction * 1e6)))
