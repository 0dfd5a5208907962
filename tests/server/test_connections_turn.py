# SPDX-License-Identifier: MIT
"""`Connections` turned by hand, by a clock that stands: what a turn waits for and does, and how it all ends."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config.options import ListenerOptions
from pdudaemon.engine import threads
from pdudaemon.server.access import Access
from pdudaemon.server.client import Client
from pdudaemon.server.connections import LINGER, THREAD_PAUSE
from pdudaemon.server.listener import Listener
from pdudaemon.server.refusals import Refusals
from tests.support.hand import LARGE, NOW, Asked, Hand, by_hand, drained
from tests.support.process import eventually


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    with by_hand(monkeypatch) as one:
        yield one


# What a turn waits for.


def test_nothing_to_do_is_waited_for_without_end(hand: Hand) -> None:
    assert hand.turn() is None


def test_it_waits_until_the_first_that_is_due_and_no_longer(hand: Hand) -> None:
    done: list[str] = []
    hand.one.at(NOW + 7, lambda: done.append("later"))
    hand.one.at(NOW + 5, lambda: done.append("first"))
    hand.one.at(NOW + 5, lambda: done.append("second"))
    assert hand.turn() == 5.0 and not done
    hand.clock.now = NOW + 5
    assert hand.turn() == 0.0 and done == ["first", "second"]
    hand.clock.now = NOW + 9
    assert hand.turn() == 0.0 and done == ["first", "second", "later"], "never a negative time, which has no end"
    assert hand.turn() is None


def test_until_it_leaves_it_waits_for_no_longer_than_that(hand: Hand) -> None:
    hand.one.at(NOW + 7, lambda: None)
    _, connection = hand.client()
    connection.exchange = Asked(connection)
    hand.one._leave_by = NOW + 3
    assert hand.turn() == 3.0 and not hand.one._left
    hand.one._leave_by = NOW + 9
    assert hand.turn() == 7.0


def test_whoever_found_no_room_is_not_kept_waiting(hand: Hand) -> None:
    ours, theirs = socket.socketpair()
    refused: list[socket.socket] = []
    listener: Any = SimpleNamespace(shutdown_request=refused.append)
    hand.one.options.max_connections = 0
    hand.one._acceptor.doubtful.append((listener, ours, Client("a", 1)))
    assert hand.turn() == 0.0 and refused == [ours] and not hand.one._acceptor.doubtful
    assert hand.turn() is None
    ours.close()
    theirs.close()


# Bells and calls.


def test_its_bell_is_silent_at_first_and_its_own(hand: Hand) -> None:
    assert not os.get_inheritable(hand.one._bell)
    hand.turn()
    assert hand.poll.found == [[]]


def test_without_a_thread_it_is_asked_for_again_a_little_later(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Any] = []

    def submit(what: Any) -> None:
        tries.append(what)
        if len(tries) < 3:
            raise RuntimeError("none")

    monkeypatch.setattr(hand.one._pool, "submit", submit)
    answer = Asked(hand.client()[1]).refuse
    hand.one.later(answer)  # type: ignore[arg-type]
    for number in range(2):
        hand.turn()
        assert (NOW + THREAD_PAUSE, number + 1) == (min(hand.one._heap)[0], len(tries))
        _, _, again = min(hand.one._heap)
        hand.one._heap.clear()
        again()
    hand.turn()
    assert len(tries) == 3 and tries[0] == answer and not hand.one._heap


def test_however_often_it_is_woken_it_is_rung_once_a_turn(hand: Hand) -> None:
    for _ in range(2):
        hand.one.wake()
        hand.one.wake()
        assert os.eventfd_read(hand.one._bell) == 1
        hand.one._rung = False
    hand.one.wake()
    assert hand.one._rung
    hand.turn()
    assert not hand.one._rung
    with pytest.raises(BlockingIOError):
        os.eventfd_read(hand.one._bell)


def test_to_attend_wakes_it_or_not(hand: Hand) -> None:
    _, connection = hand.client()
    hand.one.attend(connection, at_once=False)
    assert not hand.one._rung and [*hand.one._attended] == [connection]
    hand.one.attend(connection)
    assert hand.one._rung and len(hand.one._attended) == 2
    hand.one.wake()
    hand.turn()
    assert not hand.one._attended


def test_a_call_wakes_it_and_is_made_in_the_next_turn(hand: Hand) -> None:
    done: list[int] = []

    def first() -> None:
        done.append(1)
        hand.one.call(lambda: done.append(3))

    hand.one.call(first)
    hand.one.call(lambda: done.append(2))
    assert hand.one._rung and not done
    hand.turn()
    assert done == [1, 2] and hand.one._rung
    hand.turn()
    assert done == [1, 2, 3]


def test_calls_come_behind_what_is_due_and_before_who_is_attended_to(
    hand: Hand,
) -> None:
    client, connection = hand.client()
    done: list[str] = []
    hand.one.at(NOW, lambda: done.append("due"))
    hand.one.call(lambda: done.append(f"call {connection.received!r}"))
    client.sendall(b"x")
    hand.turn()
    assert done == ["due", "call bytearray(b'x')"]
    connection.received += b"1\n"
    hand.one.attend(connection)
    hand.one.call(lambda: done.append(f"{hand.begun(connection)}"))
    hand.turn()
    assert done[2:] == ["[]"] and hand.begun(connection) == [b"x1"]


# Leaving.


def test_it_leaves_once_all_is_answered_and_sent(hand: Hand) -> None:
    client, connection = hand.client()
    other, second = hand.client(4096)
    idle, _ = hand.client()
    client.sendall(b"one\n")
    other.sendall(b"one\n")
    hand.turn()
    hand.turn()
    assert not hand.one._left, "nobody has said so"
    hand.one._leave_by = NOW + 5
    hand.turn()
    assert not hand.one._left
    connection.write(b"done", last=True)
    second.write(LARGE, last=True)
    hand.turn()
    assert not hand.one._left

    def leaves() -> None:
        assert hand.one._left is not bool(second.unsent)

    second.unsent.append(b"end")
    assert hand.hears(other, b"end", leaves) == LARGE + b"end" and hand.one._left
    hand.one._run()
    assert not hand.one._open and hand.poll.closed
    assert drained(client) == b"done(closed)" and drained(idle) == b"(closed)" == drained(other)


def test_it_leaves_when_the_time_is_over_whoever_waits(hand: Hand) -> None:
    client, _ = hand.client()
    client.sendall(b"one\n")
    hand.turn()
    hand.one._leave_by = NOW + 5
    hand.clock.now = NOW + 4.5
    hand.turn()
    assert not hand.one._left
    hand.clock.now = NOW + 5
    hand.turn()
    assert hand.one._left
    hand.one._run()
    assert not hand.one._open and drained(client) == b"(closed)"


def test_to_close_leaves_so_much_time_and_a_moment_more_for_goodbyes(hand: Hand) -> None:
    joined: list[float] = []
    alive = [True, False]
    hand.one._thread = SimpleNamespace(join=joined.append, is_alive=alive.pop)  # type: ignore[assignment]
    assert hand.one.close(5.0) is True and hand.one.close(7.0) is False
    assert joined == [5.0 + LINGER, 7.0 + LINGER] and hand.one._rung
    with pytest.raises(RuntimeError, match="shutdown"):
        hand.one._pool.submit(bool)
    hand.one._calls.pop()
    hand.turn()
    assert hand.one._leave_by == NOW + 5.0


# Faults.


def test_a_fault_with_a_client_is_his_end_and_is_told(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    client, connection = hand.client()
    other, second = hand.client()
    client.sendall(b"fault\n")
    other.sendall(b"at once\n")
    hand.turn()
    assert caplog.messages == [f"serving {connection.client} failed"] and caplog.records[0].exc_info
    assert drained(client) == b"(closed)" and drained(other) == b"done\n" and [*hand.one._open.values()] == [second]


def test_after_a_fault_what_it_did_not_come_to_is_done(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    def fault() -> bool:
        raise ZeroDivisionError

    def leave() -> bool:
        hand.one._left = True
        return False

    hand.rounds = [fault, leave]
    hand.one._run()
    assert hand.poll.found == [[], [(hand.one._bell, select.EPOLLIN)]]
    assert caplog.messages == ["serving clients failed"]


def test_who_is_at_its_work_for_longer_leaves_the_clients_to_another(
    hand: Hand,
) -> None:
    _, connection = hand.client()
    done: list[str] = []
    hand.one._work = lambda: lambda: done.append("work")
    hand.one._run()
    assert done == ["work"] and hand.one._is_open(connection), "its clients go on"


def test_its_successor_is_woken(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[tuple[Any, ...]] = []
    other = threading.Thread(target=lambda: None)

    def started(*words: Any) -> threading.Thread:
        began.append(words)
        return other

    monkeypatch.setattr(threads, "started", started)
    before = hand.one._thread
    assert hand.one.succeed() is other and hand.one._thread is other is not before
    assert began == [(hand.one._run, "connections", hand.one)] and os.eventfd_read(hand.one._bell) == 1
    monkeypatch.setattr(threads, "started", lambda *words: None)
    assert hand.one.succeed() is None and hand.one._thread is other
    with pytest.raises(BlockingIOError):
        os.eventfd_read(hand.one._bell)


# Listeners.


def test_who_connects_is_let_in_behind_who_has_been_served(hand: Hand) -> None:
    listener = Listener(
        ListenerOptions({"protocol": "tcp", "port": 0}),
        Access(),
        Refusals(lambda when, call: None),
    )
    try:
        hand.one.add(listener)
        assert hand.one._rung
        hand.turn()
        with socket.create_connection(("127.0.0.1", listener.server_address[1]), 30) as client:
            select.select([listener], [], [], 30)
            hand.turn()
            (connection,) = hand.one._open.values()
            assert connection.client.port == client.getsockname()[1] and connection.listener is listener
            client.sendall(b"at once\n")
            select.select([connection.socket], [], [], 30)
            hand.turn()
            assert client.recv(100) == b"done\n"
        thread = threading.Thread(target=hand.one.remove, args=[listener], daemon=True)
        thread.start()

        def removed() -> bool:
            hand.turn()
            return not thread.is_alive()

        eventually(removed)
        assert listener.fileno() == -1 and not hand.one._acceptor.listeners
    finally:
        listener.server_close()


def test_somebody_whom_nobody_knows_any_more_is_dropped_once(hand: Hand) -> None:
    _, connection = hand.client()
    hand.one._drop(connection)
    hand.one._drop(connection)
    assert hand.one._acceptor._every == 0 and not hand.one._acceptor.open and not hand.one._open
