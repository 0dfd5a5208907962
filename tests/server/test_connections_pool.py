# SPDX-License-Identifier: MIT
"""What the thread that serves the clients does besides: calls, others that make long answers, and how it parts from all."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config.options import ListenerOptions
from pdudaemon.server import connections as module
from pdudaemon.server.access import Access
from pdudaemon.server.connections import Connection, Connections
from pdudaemon.server.listener import Listener
from pdudaemon.server.refusals import Refusals
from tests.support.process import eventually

Make = Callable[..., Connections]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Connections] = []

    def connections(round_ended: Callable[[], bool] = lambda: False, speech: Any = None) -> Connections:
        options: Any = SimpleNamespace(
            client_timeout=60.0, max_connections=10, max_connections_per_address=10, trusted_proxies=()
        )
        made.append(Connections(options, speech, round_ended, lambda: None))
        return made[-1]

    yield connections
    for each in made:
        if each._thread.is_alive():
            each.close(0)


def test_an_answer_that_is_never_made_keeps_nobody_from_the_end(make: Make) -> None:
    one, busy, go_on = make(), threading.Event(), threading.Event()
    one.start()
    done: list[int] = []

    def make_it() -> None:
        busy.set()
        go_on.wait(60)

    for _ in range(module.POOL):
        one.later(make_it)
    one.later(lambda: done.append(1))
    assert busy.wait(60) and one.close(0) is True and not go_on.is_set()
    go_on.set()
    for thread in one._pool._threads:
        thread.join(60)
    assert str(one) == "the thread that serves the clients" and not done


def test_calls_are_made_in_order_by_its_thread(make: Make) -> None:
    one = make()
    made: list[tuple[int, str]] = []

    def call(number: int) -> None:
        made.append((number, threading.current_thread().name))

    for number in range(3):
        one.call(lambda number=number: call(number))  # type: ignore[misc]
    one.start()
    eventually(lambda: len(made) == 3)
    now = time.monotonic()

    def plan() -> None:
        for number, seconds in ((5, 0.2), (4, 0.1)):
            one.at(now + seconds, lambda number=number: call(number))  # type: ignore[misc]

    one.call(plan)
    eventually(lambda: len(made) == 5)
    assert made == [(number, "connections") for number in (0, 1, 2, 4, 5)] and time.monotonic() >= now + 0.2


def test_a_fault_of_ours_ends_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    faults = [KeyError("x")]

    def round_ended() -> bool:
        if faults:
            raise faults.pop()
        return False

    one, called = make(round_ended), threading.Event()
    one.start()
    one.wake()
    eventually(lambda: "serving clients failed" in caplog.messages)
    one.call(called.set)
    assert called.wait(60) and one._thread.daemon


def test_an_answer_waits_for_a_thread(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(module, "THREAD_PAUSE", 0.05)
    one, done = make(), threading.Event()
    one.start()
    original, failed = threading.Thread.start, threading.Event()

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("answer") and not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        original(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    one.later(done.set)
    assert failed.is_set() and done.wait(60)
    assert caplog.messages == ["an answer waits: can't start new thread"]
    assert one.close(0)
    one.later(lambda: None)  # when all is over it is not even told
    assert len(caplog.messages) == 1


class Goodbye:
    """Answers the first that is said, and closes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self) -> bool:
        if not self._connection.received:
            return False
        self._connection.received.clear()
        self._connection.write(b"bye", last=True, close=True)
        return True

    def expired(self) -> bool:
        return False


@pytest.fixture
def listener() -> Iterator[Listener]:
    options = ListenerOptions({"protocol": "tcp", "port": 0})
    one = Listener(options, Access(), Refusals(lambda when, call: None))
    yield one
    one.server_close()


def test_who_is_said_goodbye_to_closes_first(make: Make, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what he was still sending would have his machine throw away the answer."""
    monkeypatch.setattr(module, "LINGER", 60.0)
    one = make(speech=Goodbye)
    one.start()
    one.add(listener)
    with socket.create_connection(listener.server_address, 60) as client:
        client.sendall(b"x")
        assert client.recv(10) == b"bye" and client.recv(10) == b""
        for _ in range(3):
            client.sendall(b"and more")
        done = threading.Event()
        one.call(done.set)
        assert done.wait(60) and len(one._open) == 1
    eventually(lambda: not one._open)


def test_who_does_not_close_is_waited_for_no_longer_than_a_moment(
    make: Make, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 0.1)
    one = make(speech=Goodbye)
    one.start()
    one.add(listener)
    with socket.create_connection(listener.server_address, 60) as client:
        client.sendall(b"x")
        assert client.recv(10) == b"bye" and client.recv(10) == b""
        eventually(lambda: not one._open, 40)  # and not when the time for a request is over
    one.remove(listener)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.server_address, 60)
