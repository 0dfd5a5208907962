# SPDX-License-Identifier: MIT
"""`Connections` turned by hand: what is begun of what a client sends, how answers are sent, and who is let go, and when."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.server.client import Client
from pdudaemon.server.connections import CHUNK, LINGER, READ_AHEAD
from tests.support.hand import LARGE, NEVER, NOW, TIMEOUT, Asked, Hand, by_hand, drained


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    with by_hand(monkeypatch) as one:
        yield one


# What a client sends.


def test_a_request_in_pieces_begins_once_it_is_whole(hand: Hand) -> None:
    client, connection = hand.client()
    for piece, begun in ((b"le", []), (b"ft", []), (b" on\n", [b"left on"])):
        client.sendall(piece)
        hand.turn()
        assert hand.begun(connection) == begun
    assert not connection.received and connection.watched == select.EPOLLIN


def test_so_much_is_read_at_a_time(hand: Hand) -> None:
    client, connection = hand.client()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
    client.sendall(b"x" * (CHUNK + 100))
    hand.turn()
    assert len(connection.received) == CHUNK
    hand.turn()
    assert len(connection.received) == CHUNK + 100


def test_what_was_sent_ahead_waits_for_the_answer_and_no_more_than_so_much_of_it(
    hand: Hand,
) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    hand.turn()
    client.sendall(b"y" * (READ_AHEAD - 1))
    hand.turn()
    assert connection.watched == select.EPOLLIN and len(connection.received) == READ_AHEAD - 1
    client.sendall(b"\n")
    hand.turn()
    assert connection.watched == 0 and len(connection.received) == READ_AHEAD
    client.sendall(b"more\n")
    hand.turn()
    assert len(connection.received) == READ_AHEAD and hand.begun(connection) == [b"one"]
    connection.write(b"done\n", last=True)
    assert hand.one._rung
    hand.turn()
    assert len(hand.begun(connection)) == 2 and not connection.received and connection.watched == select.EPOLLIN
    connection.write(b"done\n", last=True)
    hand.turn()
    assert hand.begun(connection)[2:] == [b"more"]
    assert hand.poll.modified == [0, select.EPOLLIN], "the kernel is asked for what changes alone"


def test_a_long_request_is_read_on(hand: Hand) -> None:
    """It is its protocol that bounds it."""
    client, connection = hand.client()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
    client.sendall(b"x" * READ_AHEAD)
    hand.turn()
    assert len(connection.received) == READ_AHEAD and connection.watched == select.EPOLLIN


def test_who_is_answered_at_once_has_the_next_begun_in_the_same_turn(
    hand: Hand,
) -> None:
    client, connection = hand.client()
    client.sendall(b"at once\nat once\nslow\nat once\n")
    hand.turn()
    assert hand.begun(connection) == [b"at once", b"at once", b"slow"]
    assert connection.received == b"at once\n" and drained(client) == b"done\ndone\n"


def test_who_has_a_goodbye_to_come_begins_nothing_more(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    hand.turn()
    client.sendall(b"two\n")
    connection.write(b"bye", last=True, close=True)
    hand.turn()
    assert hand.begun(connection) == [b"one"] and drained(client) == b"bye(closed)"


def test_what_is_answered_when_a_round_ends_lets_the_next_begin_in_the_same_turn(
    hand: Hand,
) -> None:
    client, connection = hand.client()
    client.sendall(b"one\ntwo\nthree\n")

    def answered() -> bool:
        connection.write(b"done\n", last=True)
        return True

    def in_vain() -> bool:
        connection.write(b"done\n", last=True)
        return False

    hand.rounds = [answered, in_vain]
    hand.turn()
    assert hand.begun(connection) == [b"one", b"two"] and [*hand.one._attended] == [connection]
    hand.rounds = [lambda: True, lambda: pytest.fail("there is nobody to attend to")]
    hand.turn()
    assert hand.begun(connection) == [b"one", b"two", b"three"]


def test_who_has_gone_is_not_attended_to(hand: Hand) -> None:
    client, connection = hand.client()
    _, second = hand.client()
    for each in (connection, second):
        each.received += b"one\n"
        hand.one.attend(each)
    hand.one._drop(connection)
    hand.turn()
    assert hand.begun(second) == [b"one"] and not hand.begun(connection)
    assert drained(client) == b"(closed)" and not hand.one._attended


# How a client ends.


def test_who_has_shut_his_side_has_his_answer_first(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    client.shutdown(socket.SHUT_WR)
    hand.turn()
    assert hand.begun(connection) == [b"one"] and not connection.ended
    hand.turn()
    assert connection.ended and connection.watched == 0 and hand.one._is_open(connection)
    connection.write(b"done\n", last=True)
    hand.turn()
    assert drained(client) == b"done\n(closed)" and not hand.one._open and not hand.one._acceptor.open
    client, _ = hand.client()
    client.shutdown(socket.SHUT_WR)
    hand.turn()
    assert not hand.one._open and not caplog.messages


def test_who_has_shut_his_side_has_what_he_sent_before_begun(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"one\ntwo\nhalf")
    client.shutdown(socket.SHUT_WR)
    for begun in (1, 2):
        hand.turn()
        hand.turn()
        assert len(hand.begun(connection)) == begun
        connection.write(b"done\n", last=True)
    hand.turn()
    assert not hand.one._open, "what can never be whole is not waited for"
    assert drained(client) == b"done\ndone\n(closed)"


def test_who_sends_nothing_and_closes_is_let_go(hand: Hand) -> None:
    client, connection = hand.client()
    client.close()
    hand.turn()
    assert not hand.one._open and connection.socket.fileno() == -1 and hand.one._acceptor._every == 0


def test_who_has_gone_is_let_go_though_he_waits(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    hand.turn()
    client.close()
    hand.turn()
    assert not hand.one._open and connection.exchange is not None


def test_what_came_with_the_end_is_begun_before_he_is_let_go(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    client.close()
    hand.turn()
    assert hand.begun(connection) == [b"one"] and hand.one._open
    hand.turn()
    assert not hand.one._open


def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), 30)
        return server.accept()[0], client


def test_who_resets_the_connection_is_let_go(hand: Hand) -> None:
    ours, theirs = tcp()
    ours.setblocking(False)
    hand.one._acceptor.open["a"] += 1
    hand.one._acceptor._every += 1
    hand.one._begin(SimpleNamespace(), ours, Client("a", 1))  # type: ignore[arg-type]
    connection = hand.one._open[ours.fileno()]
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    hand.turn()
    assert not hand.one._open and connection.socket.fileno() == -1


def test_an_event_that_brings_nothing_changes_nothing(hand: Hand) -> None:
    """Another may have read it, as TLS does."""
    _, connection = hand.client()
    connection.received += b"one\n"
    hand.one._serve(connection, select.EPOLLIN)
    assert not hand.begun(connection) and hand.one._is_open(connection) and not connection.ended


def test_to_serve_without_an_event_reads_nothing(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"two\n")
    connection.received += b"one\n"
    hand.one._serve(connection)
    assert hand.begun(connection) == [b"one"] and not connection.received
    hand.one._serve(connection, select.EPOLLOUT)
    assert not connection.received


@pytest.mark.parametrize("event", [select.EPOLLIN, select.EPOLLHUP, select.EPOLLERR])
def test_any_event_of_its_own_is_read(hand: Hand, event: int) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    hand.one._serve(connection, event)
    assert hand.begun(connection) == [b"one"]


@pytest.mark.parametrize("lost", [select.EPOLLHUP, select.EPOLLERR])
def test_nothing_more_and_nobody_there_is_the_end(hand: Hand, lost: int) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    hand.turn()
    client.shutdown(socket.SHUT_WR)
    hand.one._serve(connection, select.EPOLLIN | lost)
    assert not hand.one._open


# Answers that are not taken.


def test_an_answer_that_is_not_taken_is_sent_as_it_is_read_and_nothing_is_begun_before(
    hand: Hand,
) -> None:
    client, connection = hand.client(4096)
    client.sendall(b"one\ntwo\n")
    hand.turn()
    connection.write(LARGE)
    connection.write(b"end\n", last=True)
    hand.turn()
    assert connection.watched == select.EPOLLOUT and hand.begun(connection) == [b"one"]

    def nothing_more() -> None:
        assert hand.begun(connection) == [b"one"] or not connection.unsent

    assert hand.hears(client, b"end\n", nothing_more) == LARGE + b"end\n"
    hand.turn()
    assert hand.begun(connection) == [b"one", b"two"] and connection.watched == select.EPOLLIN


def test_what_is_unsent_is_sent_to_who_has_shut_his_side(hand: Hand) -> None:
    client, connection = hand.client(4096)
    client.sendall(b"one\n")
    hand.turn()
    client.shutdown(socket.SHUT_WR)
    hand.turn()
    connection.write(LARGE, last=True)
    hand.turn()
    assert connection.watched == select.EPOLLOUT
    assert hand.hears(client, b"(closed)") == LARGE + b"(closed)" and not hand.one._open


def test_who_goes_with_an_answer_unsent_is_let_go(hand: Hand) -> None:
    client, connection = hand.client(4096)
    client.sendall(b"one\n")
    hand.turn()
    connection.write(LARGE, last=True)
    client.close()
    assert not hand.one._send(connection) and not hand.one._open
    hand.turn()
    assert connection.socket.fileno() == -1


def test_who_has_gone_with_an_answer_unsent_begins_nothing(hand: Hand) -> None:
    client, connection = hand.client(4096)
    client.sendall(b"one\ntwo\n")
    hand.turn()
    connection.write(LARGE, last=True)
    client.close()
    hand.one._serve(connection)
    assert not hand.one._open and hand.begun(connection) == [b"one"]


def test_what_nobody_holds_any_more_is_not_looked_at_though_a_child_has_it(hand: Hand) -> None:
    """A command that is started just then inherits the socket for a moment."""
    client, connection = hand.client()
    kept = os.dup(connection.socket.fileno())
    hand.one._drop(connection)
    client.sendall(b"x")
    hand.turn()
    assert hand.poll.found == [[]]
    os.close(kept)


# Goodbyes.


def test_who_is_let_go_closes_first(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"one\nrest")
    hand.turn()
    connection.write(b"bye", last=True, close=True)
    hand.turn()
    assert drained(client) == b"bye(closed)" and hand.one._is_open(connection) and not connection.received
    assert connection.deadline == NOW + LINGER and connection.watched == select.EPOLLIN
    client.close()
    hand.turn()
    assert not hand.one._open


def test_what_he_still_sends_does_not_prolong_it(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    hand.turn()
    connection.write(b"bye", last=True, close=True)
    hand.turn()
    hand.clock.now = NOW + 1
    client.sendall(b"two\n")
    hand.turn()
    assert connection.deadline == NOW + LINGER and not connection.received
    hand.clock.now = NOW + LINGER
    hand.turn()
    assert not hand.one._open and connection.socket.fileno() == -1


def test_who_has_been_let_go_and_has_gone_is_not_told(hand: Hand) -> None:
    _, connection = hand.client()
    connection.closing = True
    os.dup2(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), connection.socket.fileno())
    hand.one._serve(connection)
    assert connection.socket.fileno() == -1


# Times.


def test_a_new_client_has_so_much_time(hand: Hand) -> None:
    client, connection = hand.client()
    assert connection.deadline == connection.entry == NOW + TIMEOUT and hand.turn() == TIMEOUT
    hand.clock.now = NOW + TIMEOUT - 0.5
    hand.turn()
    assert hand.one._is_open(connection)
    hand.clock.now = NOW + TIMEOUT
    hand.turn()
    assert not hand.one._open and drained(client) == b"(closed)" and not hand.one._heap


def test_however_often_somebody_is_served_his_time_is_looked_at_once(hand: Hand) -> None:
    client, connection = hand.client()
    for number in range(3):
        hand.clock.now = NOW + number
        client.sendall(b"at once\n")
        hand.turn()
        hand.turn()
    assert len(hand.one._heap) == 1 and connection.deadline == NOW + 2 + TIMEOUT
    hand.clock.now = NOW + TIMEOUT
    hand.turn()
    assert hand.one._is_open(connection) and connection.entry == connection.deadline == NOW + 2 + TIMEOUT
    assert len(hand.one._heap) == 1
    hand.clock.now = NOW + 2 + TIMEOUT
    hand.turn()
    assert not hand.one._open


def test_a_time_that_comes_sooner_is_looked_at_then(hand: Hand) -> None:
    _, connection = hand.client()
    hand.one.give(connection, TIMEOUT)
    hand.one.give(connection, TIMEOUT + 1)
    assert len(hand.one._heap) == 1 and connection.deadline == NOW + TIMEOUT + 1
    hand.one.give(connection, 5)
    assert len(hand.one._heap) == 2 and connection.deadline == connection.entry == NOW + 5
    assert hand.turn() == 5.0
    connection.deadline = NOW + 3  # as who answers sets it
    hand.one._serve(connection)
    assert connection.entry == NOW + 3 and hand.turn() == 3.0


def test_who_waits_for_ever_is_not_looked_at(hand: Hand) -> None:
    _, connection = hand.client()
    connection.deadline = NEVER
    hand.clock.now = NOW + TIMEOUT
    hand.turn()
    assert connection.entry == NEVER and not hand.one._heap and hand.turn() is None
    hand.one._serve(connection)
    assert not hand.one._heap and hand.one._is_open(connection)


def test_who_has_gone_has_no_time_left(hand: Hand) -> None:
    client, connection = hand.client()
    client.close()
    hand.turn()
    hand.clock.now = NOW + TIMEOUT
    hand.turn()
    assert not hand.one._heap and hand.one._acceptor._every == 0 and connection.entry == NEVER


def test_who_waits_for_an_answer_is_told_what_is_known_when_the_time_is_over(hand: Hand) -> None:
    client, connection = hand.client()
    client.sendall(b"one\n")
    hand.turn()
    told: list[str] = []
    exchange: Any = connection.exchange
    exchange.late = lambda: told.append("late")
    hand.clock.now = NOW + TIMEOUT
    hand.turn()
    assert told == ["late"] and connection.deadline == NEVER and hand.one._is_open(connection)
    exchange.late = None
    hand.one.give(connection, 1)
    hand.clock.now += 1
    hand.turn()
    assert connection.deadline == NEVER and hand.one._is_open(connection) and connection.exchange is exchange


@pytest.mark.parametrize("field", ["unsent", "closing"])
def test_who_does_not_read_or_close_in_time_is_let_go(hand: Hand, field: str) -> None:
    _, connection = hand.client()
    connection.exchange = exchange = Asked(connection)
    exchange.late = lambda: pytest.fail("he hears nothing any more")
    setattr(connection, field, [b"x"] if field == "unsent" else True)
    hand.clock.now = NOW + TIMEOUT
    hand.one._expire(connection)
    assert not hand.one._open


def test_who_has_not_sent_all_in_time_may_have_an_answer_all_the_same(hand: Hand) -> None:
    client, connection = hand.client()
    speech: Any = connection.speech
    speech.late = b"late\n"
    client.sendall(b"ha")
    hand.turn()
    hand.clock.now = NOW + TIMEOUT
    hand.turn()
    assert drained(client) == b"late\n" and hand.one._is_open(connection)
    assert connection.deadline == NOW + 2 * TIMEOUT == connection.entry and hand.one._rung
    hand.clock.now = NOW + 2 * TIMEOUT
    speech.late = b""
    hand.turn()
    assert not hand.one._open


def test_what_begins_when_the_time_is_over_has_its_own(hand: Hand) -> None:
    client, connection = hand.client()
    speech: Any = connection.speech
    speech.begins_late = True
    client.sendall(b"ha")
    hand.turn()
    hand.clock.now = NOW + TIMEOUT
    hand.turn()
    assert connection.exchange is not None and connection.deadline == NOW + 2 * TIMEOUT == connection.entry
    assert hand.one._rung
