# SPDX-License-Identifier: MIT
"""`Journal`: systemd's journal, spoken to by its own protocol, so that what a line is about can be asked for by name.

``journalctl PDU=apc7``, ``NODE=board7``, ``RESULT=failed``, ``CLIENT=10.0.0.7`` find the line that each request has at
its end. A datagram holds one entry: ``NAME=value`` lines, a value of several lines with its length before it
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable, Iterator

from pdudaemon import environment
from pdudaemon.engine.storage.storesearch import nodes_of
from pdudaemon.power import Request

SOCKET = "/run/systemd/journal/socket"
MOST = 200  # values of one name
LONGEST = 1000  # characters of a value, but for the message

Field = tuple[str, str]


class Journal:
    """Sends entries. Used by one thread."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, fields: Iterable[Field]) -> bool:
        """Send an entry; return whether the journal has taken it."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.sendto(b"".join(map(_spelled, fields)), self._path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Send nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def here() -> Journal | None:
    """Return the journal if it is where standard error goes, as systemd says to those that it runs."""
    device, _, inode = environment.own("JOURNAL_STREAM").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
        return Journal() if (int(device), int(inode)) == (status.st_dev, status.st_ino) else None
    except (OSError, ValueError):
        return None


def about(request: Request) -> Iterator[Field]:
    """Yield what a request that has ended was about, by the names of the fields that say it."""
    target = request.target
    yield "REQUEST", str(request.id)
    if request.command is not None:
        yield "COMMAND", str(request.command)
    yield "ACTION", request.action.value
    yield "TARGET", target.name
    yield from (("PDU", name) for name in [*dict.fromkeys(outlet.pdu for outlet in target.outlets)][:MOST])
    yield from (("OUTLET", f"{outlet.pdu}:{outlet.port}") for outlet in target.outlets[:MOST])
    yield from (("NODE", name) for name in [*nodes_of(request.names, target.name)][:MOST])
    place, _, name = request.client.partition(" (")
    yield "CLIENT", request.address or place.rpartition(":")[0].strip("[]") or place
    if name:
        yield "CLIENT_NAME", name.removesuffix(")")
    yield "RESULT", "" if request.outcome is None else request.outcome.value
    if request.error is not None:
        yield "REASON", str(request.error)
    if request.ended is not None:
        yield "DURATION", f"{max(0.0, request.ended - request.accepted):.3f}"


def entry(record: logging.LogRecord, message: str, priority: int) -> Iterator[Field]:
    """Yield the fields of a log record. ``message`` is its text, printable but for the ends of its lines."""
    yield "MESSAGE", message
    yield "PRIORITY", str(priority)
    yield "SYSLOG_IDENTIFIER", "pdudaemon"
    yield "LOGGER", record.name
    request = getattr(record, "request", None)
    if isinstance(request, Request):
        for name, value in about(request):
            yield name, " ".join(value.split())[:LONGEST]


def _spelled(field: Field) -> bytes:
    name, value = field[0].encode(), field[1].encode(errors="backslashreplace")
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"
