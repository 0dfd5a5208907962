# SPDX-License-Identifier: MIT
"""One connection over a real pair of sockets: what is sent at once, what is left to the selector's thread, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import PDUDaemonError
from pdudaemon.server.connections import SILENCE, Exchange
from pdudaemon.server.rights import EVERYTHING
from tests.support.pair import TIMEOUT, Pair, connected, unanswered


class Asked(Exchange):
    def refuse(self, error: PDUDaemonError) -> None:
        self.connection.write(str(error).encode(), last=True)


@pytest.fixture
def pair() -> Iterator[Pair]:
    speech: Any = SimpleNamespace(take=lambda: True, expired=lambda: True)
    with connected(lambda _: speech) as made:
        yield made


def test_an_answer_is_sent_at_once_and_ends_the_request(pair: Pair) -> None:
    connection, client, thread = pair
    connection.exchange = exchange = Asked(connection)
    assert exchange.rights is EVERYTHING and exchange.late is None
    exchange.late = lambda: None
    connection.entry = 0.0
    before = time.monotonic()
    connection.write(b"on")
    connection.write(b"e\n", last=True)
    assert client.recv(100) == b"one\n" and connection.exchange is None and exchange.late is None
    assert before + TIMEOUT <= connection.deadline <= time.monotonic() + TIMEOUT
    assert not connection.closing and not thread.attended and not connection.unsent


def test_an_answer_is_claimed_once(pair: Pair) -> None:
    exchange = Asked(pair[0])
    assert unanswered(exchange) and not unanswered(exchange) and not unanswered(exchange)


def test_what_the_socket_does_not_take_is_left_to_the_thread_in_order(pair: Pair) -> None:
    connection, client, thread = pair
    data = b"x" * 10_000_000
    connection.write(data)
    (first,) = connection.unsent
    assert 0 < len(first) < len(data) and thread.attended == [(connection, True)]
    connection.write(b"next")
    assert [*connection.unsent][1:] == [b"next"] and len(thread.attended) == 2
    sent = len(data) - len(first)
    received = 0
    while received < sent:
        received += len(client.recv(1 << 20))
    connection.write(b"last")
    assert [*connection.unsent][1:] == [b"next", b"last"], "nothing overtakes"


def test_a_full_socket_loses_nothing(pair: Pair) -> None:
    connection, _, _ = pair
    connection.write(b"x" * 10_000_000)
    connection.unsent.clear()
    connection.write(b"whole")
    assert [*connection.unsent] == [b"whole"]


def test_who_has_gone_is_let_go(pair: Pair) -> None:
    connection, client, thread = pair
    client.close()
    connection.exchange = Asked(connection)
    connection.write(b"a")
    connection.write(b"b", last=True)
    assert connection.closing and not connection.unsent and connection.exchange is None
    assert thread.attended[-1] == (connection, True)


@pytest.mark.parametrize(
    ("received", "ended", "close", "entry", "attended"),
    [
        (b"", False, False, 0.0, []),
        (b"", False, False, float("inf"), [False]),
        (b"next", False, False, float("inf"), [True]),
        (b"", True, False, 0.0, [True]),
        (b"", False, True, 0.0, [True]),
    ],
)
def test_the_thread_looks_at_what_there_is_after_an_answer(
    pair: Pair, received: bytes, ended: bool, close: bool, entry: float, attended: list[bool]
) -> None:
    connection, _, thread = pair
    connection.exchange = Asked(connection)
    connection.received += received
    connection.ended, connection.entry = ended, entry
    connection.write(b"x", last=True, close=close)
    assert [at_once for _, at_once in thread.attended] == attended and connection.closing is close


def test_an_answer_without_a_request_is_sent_as_well(pair: Pair) -> None:
    connection, client, _ = pair
    connection.write(b"bye", last=True, close=True)
    assert client.recv(9) == b"bye" and connection.closing


def test_who_waits_is_told_later_by_another_thread(pair: Pair) -> None:
    connection, _, thread = pair
    exchange, told = Asked(connection), list[str]()
    before = time.monotonic()
    exchange.within(50, lambda: told.append("late"))
    assert before + 50 <= connection.deadline <= time.monotonic() + 50 and thread.attended == [(connection, True)]
    assert exchange.late is not None
    exchange.late()
    assert not told
    thread.done_later.pop()()
    assert told == ["late"]


def test_a_new_connection_has_nothing_yet(pair: Pair) -> None:
    connection = pair[0]
    assert (connection.ended, connection.closing, connection.deadline) == (False, False, 0.0)
    assert connection.entry == float("inf") and not connection.received and connection.exchange is None


def test_what_is_closed_is_silent(pair: Pair) -> None:
    connection, client, _ = pair
    assert connection.speech.take() and connection.speech.expired()
    connection.close()
    assert client.recv(1) == b"" and connection.speech is SILENCE
    assert not SILENCE.take() and not SILENCE.expired()
