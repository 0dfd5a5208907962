# SPDX-License-Identifier: MIT
"""What the daemon reads from the bytes of requests."""

from __future__ import annotations

from pdudaemon.server.http import Reader
from pdudaemon.server.messages import LONGEST_LINE, Unreadable

LONG = b"X" * LONGEST_LINE

Found = list[tuple[str, str, str, dict[str, str], bytes] | int]


def read(pieces: list[bytes]) -> Found:
    """Return what a reader finds: requests, and last the status by which it refuses, if it does."""
    reader, received = Reader(), bytearray()
    found: Found = []
    try:
        for number, piece in enumerate([*pieces, b""]):
            received += piece
            while (body := reader.take(received, number == len(pieces))) is not None:
                head = reader.head
                found.append((head.method, head.target, head.version, dict(head.headers), body))
    except Unreadable as error:
        found.append(error.http_status)
    return found


Read = tuple[str, str, str, dict[str, str], bytes]


def got(method: str = "GET", target: str = "/", body: bytes = b"", version: str = "HTTP/1.1", **headers: str) -> Read:
    """Return a request as `read` finds it."""
    return method, target, version, {name.replace("_", "-"): value for name, value in headers.items()}, body
