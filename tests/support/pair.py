# SPDX-License-Identifier: MIT
"""A connection over a pair of sockets: its client's end, and what the selector's thread was asked for."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

from pdudaemon.server.client import Client
from pdudaemon.server.connections import Connection, Exchange, Speech
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import parsed

TIMEOUT = 70.0


class Thread:
    """What the selector's thread was asked for."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.options: Any = SimpleNamespace(client_timeout=TIMEOUT)
        self.attended: list[tuple[Connection, bool]] = []
        self.done_later: list[Callable[[], None]] = []
        self.planned: list[tuple[float, Callable[[], None]]] = []

    def attend(self, connection: Connection, at_once: bool = True) -> None:
        self.attended.append((connection, at_once))

    def give(self, connection: Connection, seconds: float) -> None:
        connection.deadline = time.monotonic() + seconds

    def later(self, what: Callable[[], None]) -> None:
        self.done_later.append(what)

    def call(self, what: Callable[[], None]) -> None:
        what()

    def at(self, when: float, call: Callable[[], None]) -> None:
        self.planned.append((when, call))


class Pair(NamedTuple):
    connection: Connection
    client: socket.socket
    thread: Thread

    def has(self, seconds: float) -> bool:
        """Whether the client has been given so many seconds, at some moment since the beginning."""
        return self.thread.begun + seconds <= self.connection.deadline <= time.monotonic() + seconds

    def hears(self) -> tuple[int, str]:
        """Return the status and the body of the answer that the client gets over HTTP."""
        response = http.client.HTTPResponse(self.client)
        response.begin()
        return response.status, response.read().decode()

    def hears_nothing(self) -> bool:
        """Whether nothing has been sent to the client."""
        self.client.setblocking(False)
        try:
            return not self.client.recv(1)
        except BlockingIOError:
            return True
        finally:
            self.client.settimeout(30)


@contextmanager
def connected(speech: Callable[[Connection], Speech]) -> Iterator[Pair]:
    """Have a connection whose protocol is what ``speech`` makes."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(30)
    thread = Thread()
    listener: Any = SimpleNamespace(open=True)
    yield Pair(Connection(thread, listener, ours, Client("a", 1), speech), theirs, thread)  # type: ignore[arg-type]
    ours.close()
    theirs.close()


@contextmanager
def asked(orders: Any, *head: str) -> Iterator[tuple[Pair, HTTPExchange]]:
    """Have a request that begins with the lines of a head, as a route sees it."""
    speech: Any = SimpleNamespace()
    with connected(lambda _: speech) as pair:
        connection = pair.connection
        request = parsed("\r\n".join(head).encode())
        exchange = HTTPExchange(connection, request, orders, orders.dispatcher, connection.client)
        connection.exchange = exchange
        yield pair, exchange


def unanswered(exchange: Exchange) -> bool:
    """Whether nobody has given the answer; nobody else can from now on."""
    first: list[bool] = []
    exchange.settle(first.append, True)
    return bool(first)
