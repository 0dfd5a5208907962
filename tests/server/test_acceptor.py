# SPDX-License-Identifier: MIT
"""`Acceptor`: so many connections and no more, from each address and in all; whoever leaves makes room at once."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from pdudaemon.config.options import DaemonOptions, ListenerOptions
from pdudaemon.server import acceptor
from pdudaemon.server.acceptor import Acceptor
from pdudaemon.server.access import Access
from pdudaemon.server.client import Client
from pdudaemon.server.listener import Listener
from pdudaemon.server.refusals import Refusals


class Door:
    """An acceptor with a listener, turned by hand. ``inside`` are those let in."""

    def __init__(self, **options: object) -> None:
        self.inside: list[tuple[socket.socket, Client]] = []
        self.calls: list[tuple[float, Callable[[], None]]] = []
        self.epoll = select.epoll()
        self.acceptor = Acceptor(self.epoll, lambda when, call: self.calls.append((when, call)), self._begin)
        self.listener = Listener(
            ListenerOptions({"protocol": "http", "port": 0, **options}), Access(), Refusals(lambda _, call: None)
        )
        self.acceptor.watch(self.listener)

    def _begin(self, listener: Listener, sock: socket.socket, client: Client) -> None:
        assert listener is self.listener and not sock.getblocking()
        self.inside.append((sock, client))

    def client(self, address: str = "127.0.0.1") -> socket.socket:
        """Connect from an address."""
        return socket.create_connection(self.listener.server_address[:2], 30, source_address=(address, 0))

    def turn(self, options: DaemonOptions) -> int:
        """Take in what has come, as the selector's thread does; return how many are inside."""
        ready = [number for number, _ in self.epoll.poll(0 if self.acceptor.doubtful else 1)]
        self.acceptor.decide(options)
        if self.listener.fileno() in ready:
            self.acceptor.accept(self.listener, options)
        return len(self.inside)

    def close(self) -> None:
        """End it all."""
        for sock, _ in self.inside:
            sock.close()
        self.listener.server_close()
        self.epoll.close()


@pytest.fixture
def door() -> Iterator[Door]:
    with closing(Door()) as one:
        yield one


def test_no_more_than_there_is_room_for(door: Door) -> None:
    options = DaemonOptions({"max_connections": 3, "max_connections_per_address": 2})
    clients = [door.client(address) for address in ("127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.4")]
    assert door.turn(options) == 3 and len(door.acceptor.doubtful) == 2
    assert door.turn(options) == 3 and not door.acceptor.doubtful
    assert sorted(client.address for _, client in door.inside) == ["127.0.0.2", "127.0.0.2", "127.0.0.3"]
    assert clients[2].recv(1) == b"" == clients[4].recv(1)
    for sock, client in door.inside[:2]:
        sock.close()
        door.acceptor.ended(client)
    more = [door.client(f"127.0.0.{number}") for number in (5, 6, 7)]
    assert door.turn(options) == 5 and len(door.acceptor.doubtful) == 1, "two have left, so there is room for two"
    door.turn(options)
    for each in more:
        each.close()
    for client in clients:
        client.close()


def test_who_leaves_before_it_is_decided_makes_room(door: Door) -> None:
    options = DaemonOptions({"max_connections": 3, "max_connections_per_address": 1})
    first = door.client()
    assert door.turn(options) == 1
    second = door.client()
    assert door.turn(options) == 1 and len(door.acceptor.doubtful) == 1
    sock, client = door.inside.pop()
    sock.close()
    door.acceptor.ended(client)
    assert door.turn(options) == 1 and not door.acceptor.doubtful
    assert door.inside[0][1].port == second.getsockname()[1] and door.acceptor.open == {"127.0.0.1": 1}
    door.acceptor.ended(door.inside[0][1])
    assert not door.acceptor.open
    for each in (first, second):
        each.close()


def test_a_quarter_for_each_address_if_nobody_says(door: Door) -> None:
    options = DaemonOptions({"max_connections": 12})
    clients = [door.client() for _ in range(5)]
    assert door.turn(options) == 3
    for client in clients:
        client.close()


def test_at_least_one_from_each_address(door: Door) -> None:
    clients = [door.client() for _ in range(2)]
    assert door.turn(DaemonOptions({"max_connections": 3})) == 1
    for client in clients:
        client.close()


def test_a_trusted_proxy_may_have_as_many_as_there_are(door: Door) -> None:
    options = DaemonOptions(
        {"max_connections": 4, "max_connections_per_address": 1, "trusted_proxies": ["127.0.0.9/32"]}
    )
    clients = [door.client(address) for address in ("127.0.0.9", "127.0.0.9", "127.0.0.9", "127.0.0.2", "127.0.0.2")]
    assert door.turn(options) == 4
    assert sorted(client.address for _, client in door.inside) == ["127.0.0.2", *["127.0.0.9"] * 3]
    for client in clients:
        client.close()


def test_the_log_says_who_was_refused_and_why(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    for options, why in (
        ({"max_connections": 1}, "1 are open"),
        ({"max_connections": 9, "max_connections_per_address": 1}, "1 from there are open"),
    ):
        caplog.clear()
        clients = [door.client(), door.client()]
        assert door.turn(DaemonOptions(options)) == 1 and not caplog.messages
        ((_, sock, _),) = door.acceptor.doubtful
        door.turn(DaemonOptions(options))
        assert sock.fileno() < 0
        refused = clients[1].getsockname()[1]
        assert caplog.messages == [f"connection from 127.0.0.1:{refused} refused: {why}"]
        door.acceptor.ended(door.inside.pop()[1])
        for each in clients:
            each.close()


def test_an_address_of_ipv6_counts_as_one() -> None:
    with closing(Door(hostname="::1")) as six:
        client = six.client("::1")
        assert six.turn(DaemonOptions()) == 1
        assert six.inside[0][1] == Client("::1", client.getsockname()[1])
        client.close()


def test_who_has_gone_already_is_passed_over(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = [door.client() for _ in range(2)]
    original, failed = door.listener.get_request, []

    def get_request() -> object:
        if not failed:
            failed.append(original()[0].close())
            raise ConnectionAbortedError(103, "Software caused connection abort")
        return original()

    monkeypatch.setattr(door.listener, "get_request", get_request)
    assert door.turn(DaemonOptions()) == 1
    for client in clients:
        client.close()


def test_without_descriptors_it_rests(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = DaemonOptions()
    client, before = door.client(), time.monotonic()

    def refuse() -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(door.listener, "get_request", refuse)
        assert door.turn(options) == 0 and not door.acceptor.listeners
    assert caplog.messages == ["cannot accept a connection: Too many open files"] and not door.epoll.poll(0)
    (when, again) = door.calls[0]
    assert before + acceptor.PAUSE <= when <= time.monotonic() + acceptor.PAUSE
    again()
    assert door.turn(options) == 1
    door.listener.server_close()
    door.acceptor.forget(door.listener)
    again()  # it is closed by now
    client.close()
