# SPDX-License-Identifier: MIT
"""HTTP on one connection, over a pair of sockets: requests are taken one after the other, and each is answered once.

What the routes say is in `test_http_listener`.
"""

from __future__ import annotations

import http.client
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import Busy, Denied, NoSuchRequest, PDUDaemonError
from pdudaemon.server.http import HTTPExchange, HTTPSpeech, Route, problem
from pdudaemon.server.messages import Answer, Misdirected
from tests.support.pair import Pair, connected, unanswered

CONFIG: Any = SimpleNamespace(daemon=SimpleNamespace(trusted_proxies=()))
ORDERS: Any = SimpleNamespace(dispatcher=SimpleNamespace(config=CONFIG))


class Asking:
    """A client, and what was asked for in its name: the exchanges, each with its body."""

    def __init__(self, pair: Pair, asked: list[tuple[HTTPExchange, bytes]]) -> None:
        self.connection = pair.connection
        self.socket = pair.client
        self.asked = asked

    def sends(self, *lines: str, body: bytes = b"") -> bool:
        """Send a request, whole or in part; return whether one has been taken."""
        self.connection.received += "".join(f"{line}\r\n" for line in lines).encode() + body
        return self.connection.speech.take()

    def asks(self, first: str = "GET / HTTP/1.1", *headers: str) -> HTTPExchange:
        """Send a request, and return it as a route sees it."""
        assert self.sends(first, *headers, "")
        return self.asked[-1][0]

    def hears(self, method: str = "GET") -> tuple[http.client.HTTPResponse, str]:
        """Return the answer that has come."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        return response, response.read().decode()

    def hears_nothing(self) -> bool:
        """Whether nothing has been sent."""
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(1)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(30)


@pytest.fixture
def asking() -> Iterator[Asking]:
    asked: list[tuple[HTTPExchange, bytes]] = []
    route = Route(lambda exchange, _: asked.append((exchange, exchange.body)), json=True)
    with connected(lambda c: HTTPSpeech(c, ORDERS, lambda _: (route, ""))) as pair:
        yield Asking(pair, asked)


def test_each_body_that_waits_to_be_asked_for_is_asked_for_once(asking: Asking) -> None:
    for number in (1, 2):
        assert not asking.sends("POST /x HTTP/1.1", "Content-Length: 3", "Expect: 100-continue", "")
        assert asking.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in (b"a", b"b"):
            assert not asking.sends(body=byte) and asking.hears_nothing()
        assert asking.sends(body=b"c") and asking.hears_nothing()
        exchange, body = asking.asked[-1]
        assert (exchange.path, body, len(asking.asked)) == ("/x", b"abc", number)
        exchange.answer(Answer(200, "ok"))
        assert asking.hears()[1] == "ok\n"
    assert not asking.sends("POST /x HTTP/1.1") and asking.hears_nothing()
    assert not asking.sends("Content-Length: 3", "") and asking.hears_nothing()


def test_a_head_that_has_not_come_whole_is_asked_for_nothing(asking: Asking) -> None:
    assert not asking.sends("POST /x HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")
    assert asking.hears_nothing() and not asking.connection.speech.expired()


def test_what_is_no_http_is_answered_and_ends_the_connection(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    assert asking.sends("GET / HTTP/1.1", "no colon", "", body=b"what else has come") and not asking.asked
    response, text = asking.hears()
    assert (response.status, response.headers["Connection"]) == (400, "close")
    assert text == "a header is not one of HTTP\n" and asking.connection.closing and not asking.connection.received
    assert caplog.messages == ["from a:1: a header is not one of HTTP"]


def test_what_is_no_http_is_told_of_in_json_where_that_is_spoken(asking: Asking) -> None:
    asking.sends("GET /api/v1/pdus HTTP/1.1", "no colon", "")
    response, text = asking.hears()
    assert response.headers["Content-Type"] == "application/problem+json" and json.loads(text)["status"] == 400


@pytest.mark.parametrize(
    ("first", "accept", "as_json"),
    [
        ("GET /api/v1/pdus HTTP/1.1", "", True),
        ("GET /power HTTP/1.1", "application/json", True),
        ("GET /power HTTP/1.1", "text/html", False),
    ],
)
def test_who_would_have_json(asking: Asking, first: str, accept: str, as_json: bool) -> None:
    exchange = asking.asks(first, f"Accept: {accept}")
    assert exchange.head.wants_json is as_json and exchange.connection is asking.connection
    assert (exchange.prefix, exchange.words, exchange.body, exchange.stranger) == ("", {}, b"", False)
    assert exchange.client is asking.connection.client and exchange.dispatcher is ORDERS.dispatcher
    assert exchange.orders is ORDERS


@pytest.mark.parametrize(
    ("first", "accept", "lines"),
    [
        ("GET / HTTP/1.1", "text/x, application/x-ndjson", True),
        ("GET / HTTP/1.1", "text/x", False),
        ("GET / HTTP/1.0", "application/x-ndjson", False),
        ("HEAD / HTTP/1.1", "application/x-ndjson", False),
    ],
)
def test_who_would_have_lines(asking: Asking, first: str, accept: str, lines: bool) -> None:
    assert asking.asks(first, f"Accept: {accept}").accepts_lines("application/x-ndjson") is lines
    assert not asking.asks(first).accepts_lines("application/x-ndjson")


def test_what_a_client_may_see_of_the_configuration(asking: Asking) -> None:
    exchange = asking.asks()
    assert exchange.config is CONFIG
    seen = object()
    rights: Any = SimpleNamespace(everything=False, view=lambda config: seen if config is CONFIG else None)
    exchange.rights = rights
    assert exchange.config is seen


@pytest.mark.parametrize(
    ("first", "header", "stays"),
    [
        ("GET / HTTP/1.1", "X: y", True),
        ("GET / HTTP/1.1", "Connection: close", False),
        ("GET / HTTP/1.0", "Connection: keep-alive", False),
    ],
)
def test_the_connection_stays_as_long_as_the_client_would_have_it(
    asking: Asking, first: str, header: str, stays: bool
) -> None:
    asking.asks(first, header).answer(Answer(200, "one"))
    response, text = asking.hears()
    assert text == "one\n" and asking.connection.closing is not stays
    assert response.headers["Connection"] == (None if stays else "close")
    asking.connection.closing = False
    exchange = asking.asks(first, header)
    exchange.begin_lines({}, "text/x")
    exchange.line({"a": 1})
    exchange.end_lines()
    assert asking.hears()[1] == '{"a":1}\n' and asking.connection.closing is not stays


def test_an_answer_of_lines(asking: Asking) -> None:
    exchange = asking.asks()
    exchange.prefix = "/lab"
    exchange.begin_lines({"Location": "/api/v1/commands/7", "Link": "elsewhere"}, "application/x-ndjson")
    exchange.line({"one": "ü"})
    exchange.line({"two": [2]})
    assert asking.connection.exchange is exchange
    exchange.end_lines()
    assert asking.connection.exchange is None
    response, text = asking.hears()
    assert (response.status, response.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert response.headers["Location"] == "/lab/api/v1/commands/7" and response.headers["Link"] == "elsewhere"
    assert [json.loads(line) for line in text.splitlines()] == [{"one": "ü"}, {"two": [2]}]


def test_paths_that_are_told_lead_through_the_proxy(asking: Asking) -> None:
    told = {"Location": "/a/1", "Link": '</a/2>; rel="next"', "X": "/a/3"}
    for prefix, begins in (("/lab", "/lab/a"), ("", "/a")):
        exchange = asking.asks()
        exchange.prefix = prefix
        exchange.answer(Answer(200, {}, {**told}))
        headers = asking.hears()[0].headers
        assert headers["Location"] == f"{begins}/1" and headers["Link"] == f'<{begins}/2>; rel="next"'
        assert headers["X"] == "/a/3"
    exchange = asking.asks()
    exchange.prefix = "/lab"
    exchange.answer(Answer(200, {}, {"Location": "https://x/a"}))
    headers = asking.hears()[0].headers
    assert headers["Location"] == "https://x/a" and "Link" not in headers


def made(error: Exception) -> Callable[[], Answer]:
    """Return what has no answer to give, because of an error."""

    def fail() -> Answer:
        raise error

    return fail


def test_an_answer_that_is_made_by_another_thread_is_given_once(
    asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    for make, status, text in (
        (lambda: Answer(200, "well"), 200, "well\n"),
        (made(NoSuchRequest("there is no request 7")), 404, "there is no request 7\n"),
        (made(KeyError("x")), 500, "internal error: see the log of the daemon\n"),
    ):
        exchange = asking.asks()
        exchange.give(make)
        response, told = asking.hears()
        assert (response.status, told) == (status, text)
        exchange.give(make)
        assert asking.hears_nothing() and not unanswered(exchange)
    (fault,) = {record.message for record in caplog.records if record.exc_info}
    assert fault == "GET / from a:1"
    exchange = asking.asks()
    exchange.give(lambda: None)
    assert asking.hears_nothing() and unanswered(exchange)


def test_a_refusal_is_logged_unless_it_is_part_of_what_was_asked_for(
    asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    asking.asks("GET /power HTTP/1.1").refuse(Busy("the queue is full"))
    response, text = asking.hears()
    assert (response.status, response.headers["Retry-After"], text) == (503, "10", "the queue is full\n")
    assert caplog.record_tuples == [("pdud.http", logging.WARNING, "GET /power from a:1: the queue is full")]
    caplog.clear()
    exchange = asking.asks("GET /power HTTP/1.1", "Accept: application/json")
    exchange.refuse(PDUDaemonError("no"), {"X-Request-Id": "7"}, {"request": 7})
    response, text = asking.hears()
    assert response.headers["X-Request-Id"] == "7" and json.loads(text)["request"] == 7 and not caplog.messages
    asking.asks("GET /power HTTP/1.1").refuse(Denied(401, "a token is needed"))
    response, text = asking.hears()
    assert response.headers["WWW-Authenticate"] == "Bearer" and json.loads(text)["detail"] == "a token is needed"


def test_what_goes_with_an_error_depends_on_its_type() -> None:
    headers = {"X": "y"}
    assert problem(Denied(403, "no"), False, headers, {}).headers == {"X": "y"} == headers
    assert problem(Denied(401, "no"), False, headers, {}).headers == {"X": "y", "WWW-Authenticate": "Bearer"}
    assert headers == {"X": "y"}
    answer = problem(Misdirected(405, "no", {"Allow": "GET"}, "port"), True, {}, {"request": 7})
    assert (answer.status, answer.headers, answer.content_type) == (405, {"Allow": "GET"}, "application/problem+json")
    assert answer.body == {
        "type": "urn:pdudaemon:misdirected",
        "title": "Method Not Allowed",
        "status": 405,
        "detail": "no",
        "field": "port",
        "request": 7,
    }
    whole = problem(Misdirected(404, "no"), True, {}, {}).body
    assert isinstance(whole, dict) and {*whole} == {"type", "title", "status", "detail"}


@pytest.mark.parametrize(
    ("answer", "method", "alive", "there", "not_there", "body"),
    [
        (Answer(200, "on", {"X": "y"}, "text/x"), "GET", True, b"Content-Length: 3\r\n", b"Connection", b"on\n"),
        (Answer(200, "on"), "GET", True, b"Content-Type: text/plain; charset=utf-8\r\n", b"Connection", b"on\n"),
        (Answer(200, [1]), "GET", True, b"Content-Type: application/json\r\n", b"Connection", b"[1]\n"),
        (Answer(200, b"[]"), "GET", True, b"Content-Type: application/json\r\n", b"Connection", b"[]"),
        (Answer(404, {"a": 1}), "GET", False, b"Connection: close\r\n", b"chunked", b'{"a": 1}\n'),
        (Answer(200, b"\xff"), "HEAD", True, b"Content-Length: 1\r\n", b"chunked", b""),
        (Answer(200, b"", stream=True), "GET", True, b"Transfer-Encoding: chunked\r\n", b"Content-Length", b""),
        (Answer(200, b"", stream=True), "HEAD", True, b"Transfer-Encoding: chunked\r\n", b"Content-Length", b""),
        (Answer(200, b"", stream=True, chunked=False), "GET", False, b"Connection: close", b"chunked", b""),
    ],
)
def test_what_is_sent(
    asking: Asking, answer: Answer, method: str, alive: bool, there: bytes, not_there: bytes, body: bytes
) -> None:
    exchange = asking.asks(f"{method} / HTTP/1.1", "X: y" if alive else "Connection: close")
    exchange.answer(answer)
    head, _, sent = asking.socket.recv(10_000).partition(b"\r\n\r\n")
    head += b"\r\n"
    assert head.startswith(b"HTTP/1.1 %d " % answer.status) and sent == body
    assert there in head and not_there not in head
    assert b"Cache-Control: no-store\r\n" in head and b"Content-Type: %b" % answer.content_type.encode() in head
    for name, value in answer.headers.items():
        assert f"{name}: {value}\r\n".encode() in head
    (sent_at,) = re.findall(rb"\r\nDate: (.* GMT)\r\n", head)
    assert abs(parsedate_to_datetime(sent_at.decode()).timestamp() - time.time()) < 60
    goes_on = answer.stream and method == "GET"
    assert (asking.connection.exchange is exchange) is goes_on
    assert asking.connection.closing is not (alive or goes_on)


def test_who_ends_a_body_too_early_does_not_concern_the_next(asking: Asking) -> None:
    """Although the next one begins with the same bytes."""
    head = ("POST /x HTTP/1.1", "Content-Length: 3", "")
    asking.connection.ended = True
    assert asking.sends(*head, body=b"a")
    assert asking.hears()[0].headers["Connection"] == "close" and asking.connection.closing
    asking.connection.ended = asking.connection.closing = False
    assert asking.sends(*head, body=b"abc")
    asking.asked[-1][0].answer(Answer(200, "ok"))
    assert asking.hears()[0].headers["Connection"] is None and not asking.connection.closing
