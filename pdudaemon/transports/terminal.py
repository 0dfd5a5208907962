# SPDX-License-Identifier: MIT
"""A terminal of a program's own: what it asks of whoever sits there, and for some all that they say, goes over it."""

from __future__ import annotations

import os
import pty
import select

from pdudaemon.errors import TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.tcp import CHUNK, Stream

KEEPER = ("sh", "-c", 'trap "" HUP; "$@"; exit $?', "sh")
"""What stands before a program that closes every descriptor it inherits: see `pdudaemon.transports.ssh`."""


def opened() -> tuple[int, int]:
    """Return our end of a new terminal, and the other. Raises: TransientError."""
    try:
        return pty.openpty()
    except OSError as error:
        raise TransientError(f"no pseudo-terminal is available: {error.strerror or error}") from None


class Terminal(Stream):
    """Our end of a terminal; the stream ends when nobody holds the other end any more."""

    def __init__(self, descriptor: int, peer: str, deadline: Deadline) -> None:
        super().__init__(peer, deadline)
        self._descriptor = descriptor

    def send(self, data: bytes, step: str) -> None:
        with self._translating(step):
            os.write(self._descriptor, data)

    def _receive(self, step: str) -> bytes:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(self._patience(step) * 1000):
            raise self._silent(step)
        try:
            return os.read(self._descriptor, CHUNK)
        except OSError:  # Linux has EIO for the end of a terminal
            return b""
