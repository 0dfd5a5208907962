# SPDX-License-Identifier: MIT
"""The connections of clients without the thread that serves them: a test takes the turns, and sets the clock."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import PDUDaemonError
from pdudaemon.server import connections as module
from pdudaemon.server.client import Client
from pdudaemon.server.connections import Connection, Connections, Exchange

NOW = 1000.0
TIMEOUT = 60.0
NEVER = float("inf")
LARGE = b"x" * 300_000


class Asked(Exchange):
    def refuse(self, error: PDUDaemonError) -> None:
        self.connection.write(str(error).encode(), last=True)


class Lines:
    """A protocol of lines, each of which begins a request; ``late`` is what is answered when its time is over."""

    late = b""
    begins_late = False

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.begun: list[bytes] = []

    def take(self) -> bool:
        line, newline, rest = bytes(self.connection.received).partition(b"\n")
        if not newline:
            return False
        if line == b"fault":
            raise ZeroDivisionError
        self.connection.received[:] = rest
        self.begun.append(line)
        self.connection.exchange = Asked(self.connection)
        if line == b"at once":
            self.connection.write(b"done\n", last=True)
        return True

    def expired(self) -> bool:
        if self.begins_late:
            self.connection.exchange = Asked(self.connection)
            return True
        if self.late:
            self.connection.received.clear()
            self.connection.write(self.late, last=True)
        return bool(self.late)


class Poll:
    """An epoll that never waits, and notes how long it would have, what it found, and what was changed."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self.waits: list[float | None] = []
        self.found: list[list[tuple[int, int]]] = []
        self.modified: list[int] = []
        self.unregister = epoll.unregister
        self.closed = False

    def register(self, what: Any, events: int) -> None:
        self._epoll.register(what, events)

    def modify(self, what: Any, events: int) -> None:
        self.modified.append(events)
        self._epoll.modify(what, events)

    def close(self) -> None:
        self._epoll.close()
        self.closed = True

    def poll(self, wait: float | None) -> list[tuple[int, int]]:
        self.waits.append(wait)
        self.found.append(self._epoll.poll(0))
        return self.found[-1]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def monotonic(self) -> float:
        return self.now


class Hand:
    """Connections whose turns are taken by the test. ``round_ended`` is what there is besides."""

    def __init__(self, **options: Any) -> None:
        words: Any = SimpleNamespace(
            client_timeout=TIMEOUT,
            max_connections=10,
            max_connections_per_address=10,
            trusted_proxies=(),
        )
        vars(words).update(options)
        self.clock = Clock()
        self.rounds: list[Callable[[], bool]] = []
        self.one = Connections(words, Lines, self._round_ended, lambda: None)
        self.poll = Poll(self.one._epoll)
        self.one._epoll = self.one._acceptor._epoll = self.poll  # type: ignore[assignment]
        self.clients: list[socket.socket] = []
        self._speeches: dict[Connection, Any] = {}

    def _round_ended(self) -> bool:
        return self.rounds.pop(0)() if self.rounds else False

    def client(self, buffer: int = 0) -> tuple[socket.socket, Connection]:
        """Return a client and its connection."""
        ours, theirs = socket.socketpair()
        self.clients.append(theirs)
        theirs.settimeout(30)
        if buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        ours.setblocking(False)
        client = Client("a", ours.fileno())
        self.one._acceptor.open["a"] += 1
        self.one._acceptor._every += 1
        self.one._begin(SimpleNamespace(), ours, client)  # type: ignore[arg-type]
        connection = self.one._open[ours.fileno()]
        self._speeches[connection] = connection.speech
        return theirs, connection

    def turn(self) -> float | None:
        """Take a turn; return how long it would have waited."""
        self.one._turn()
        return self.poll.waits[-1]

    def hears(self, client: socket.socket, end: bytes, each: Callable[[], object] = bool) -> bytes:
        """Take turns until a client has received what ends so, and call ``each`` after each; return all of it."""
        found = b""
        for _ in range(1000):
            found += drained(client)
            if found.endswith(end):
                return found
            self.turn()
            each()
        raise AssertionError(f"it ends by {found[-20:]!r}")

    def begun(self, connection: Connection) -> list[bytes]:
        """Return what a client has begun."""
        return [*self._speeches[connection].begun]


@contextmanager
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    """Have connections whose clock stands."""
    one = Hand()
    monkeypatch.setattr(module, "time", one.clock)
    yield one
    for each in [*one.one._open.values()]:
        each.socket.close()
    for client in one.clients:
        client.close()
    one.one._pool.shutdown()
    os.close(one.one._bell)


def drained(client: socket.socket) -> bytes:
    """Return what has come; it ends by an empty one if the connection is closed."""
    client.setblocking(False)
    found = b""
    try:
        while more := client.recv(1 << 20):
            found += more
        return found + b"(closed)"
    except BlockingIOError:
        return found
