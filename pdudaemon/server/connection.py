# SPDX-License-Identifier: MIT
"""`Connection`: one client. It costs a socket and this object, whether it waits for an hour, dribbles, or is deaf.

It has one request under way at the most, an `Exchange`. While it has, only who answers that writes to it, in whatever
thread; everything else belongs to the selector's thread (see `pdudaemon.server.connections`).
"""

from __future__ import annotations

import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pdudaemon.config.options import DaemonOptions
from pdudaemon.errors import PDUDaemonError
from pdudaemon.server.client import Client
from pdudaemon.server.listener import Listener
from pdudaemon.server.rights import EVERYTHING, Rights


class Owner(Protocol):
    """The thread that a connection belongs to, as the connection knows it: see `Connections`."""

    options: DaemonOptions

    def attend(self, connection: Connection, at_once: bool = True) -> None: ...
    def give(self, connection: Connection, seconds: float) -> None: ...
    def at(self, when: float, call: Callable[[], None]) -> None: ...
    def later(self, what: Callable[[], None]) -> None: ...
    def call(self, what: Callable[[], None]) -> None: ...


class Speech(Protocol):
    """A protocol as it is spoken on one connection. Called by the selector's thread only."""

    def take(self) -> bool:
        """Begin the next request that has come whole; return whether there was one."""
        ...

    def expired(self) -> bool:
        """The time for the rest of a request is over; return whether there is something to answer all the same."""
        ...


class _Silence:
    """What is spoken on a connection that is closed."""

    def take(self) -> bool:
        return False

    def expired(self) -> bool:
        return False


SILENCE = _Silence()


class Exchange(ABC):
    """One request, and the one answer to it: whoever claims it first gives that. ``rights`` are those of who asks.

    ``late`` is called by the selector's thread if there is no answer when the time of the connection is over.
    """

    __slots__ = ("_claimed", "connection", "late", "rights")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rights: Rights = EVERYTHING
        self.late: Callable[[], None] | None = None
        self._claimed = threading.Lock()
        connection.exchange = self

    @abstractmethod
    def refuse(self, error: PDUDaemonError) -> None:
        """Answer by an error. Called by who has claimed the answer."""

    def claim(self) -> bool:
        """Return whether the answer is the caller's to give, which it then must. Any thread."""
        return self._claimed.acquire(blocking=False)

    def within(self, seconds: float, late: Callable[[], None]) -> None:
        """Have ``late`` called, by a thread of the pool, if the request is still under way in some seconds.

        Any thread. The selector's own sets `late` itself, and gives the connection some seconds.
        """
        connections = self.connection.connections
        self.late = partial(connections.later, late)
        self.connection.deadline = time.monotonic() + seconds
        connections.attend(self.connection)


class Connection:
    """One client's connection. Fields belong to the selector's thread, but for the last four."""

    __slots__ = (
        "client", "closing", "connections", "deadline", "ended", "entry", "exchange", "listener", "received", "socket",
        "speech", "unsent", "watched",
    )  # fmt: skip

    def __init__(
        self,
        connections: Owner,
        listener: Listener,
        sock: socket.socket,
        client: Client,
        speech: Callable[[Connection], Speech],
    ) -> None:
        self.connections = connections
        self.listener = listener
        self.socket = sock
        self.client = client
        self.received = bytearray()
        self.ended = False  # the client has said that it sends nothing more
        self.watched = select.EPOLLIN
        self.entry = float("inf")  # when the selector's thread looks at the deadline next
        self.deadline = 0.0  # monotonic time by which the client must have sent a request, or is told what is known
        self.unsent: deque[bytes] = deque()
        self.exchange: Exchange | None = None  # the request under way
        self.closing = False  # the connection ends when everything is sent
        self.speech = speech(self)

    def close(self) -> None:
        """Let go of the socket, and of what knows the connection.

        It is kept until its deadline is looked at. What would have to be looked for as garbage then stays for good if
        there is a reload before: see `gc.freeze`.
        """
        self.socket.close()
        self.speech = SILENCE

    def write(self, data: bytes) -> None:
        """Send a part of the answer to the request under way."""
        if not self.unsent:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.closing = True
                return
            if sent == len(data):
                return
            data = data[sent:]
        self.unsent.append(data)
        self.connections.attend(self)

    def finish(self, data: bytes, close: bool = False) -> None:
        """Send the rest of the answer, which ends the request, and with ``close`` the connection as well."""
        self.write(data)
        self.closing = self.closing or close
        self.deadline = time.monotonic() + self.connections.options.client_timeout
        if self.exchange is not None:
            self.exchange.late = None  # which knows the exchange: so that it need not be looked for as garbage
        self.exchange = None  # only now look at what has come: the selector's thread does it the other way round
        if self.closing or self.received or self.ended:
            self.connections.attend(self)
        elif self.deadline < self.entry:
            self.connections.attend(self, at_once=False)
