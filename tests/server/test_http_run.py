# SPDX-License-Identifier: MIT
"""How a route is run, over a pair of sockets: its answer is given once, its errors are told, and its faults are logged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import Conflict, Denied
from pdudaemon.server.client import Client
from pdudaemon.server.http import HTTPExchange, HTTPSpeech, Route
from pdudaemon.server.messages import Answer
from pdudaemon.server.refusals import FREE, PAUSE, Refusals
from pdudaemon.server.routes import find
from tests.support.pair import Pair, asked, connected, unanswered

CONFIG: Any = SimpleNamespace(daemon=SimpleNamespace(trusted_proxies=()))


class Lab:
    def __init__(self, pair: Pair, exchange: HTTPExchange) -> None:
        self.pair, self.exchange = pair, exchange

    def run(self, serve: Callable[[HTTPExchange, str], Answer | None], body: bytes = b"", **more: Any) -> None:
        speech = HTTPSpeech(self.pair.connection, self.exchange.orders, lambda _: (Route(serve, **more), "word"))
        self.exchange.give(lambda: speech._serve(self.exchange, body))


@pytest.fixture(params=["POST /api/v1/x?a=b HTTP/1.1"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    orders: Any = SimpleNamespace(dispatcher=SimpleNamespace(config=CONFIG))
    with asked(orders, request.param) as (pair, exchange):
        yield Lab(pair, exchange)


def test_a_route_gets_its_words_and_its_body(lab: Lab) -> None:
    seen: list[Any] = []

    def serve(exchange: HTTPExchange, word: str) -> Answer:
        seen.append((word, {**exchange.words}, exchange.body))
        return Answer(201, "well")

    lab.run(serve, b'{"c": 1}', json=True)
    assert lab.pair.hears() == (201, "well\n") and seen == [("word", {"a": "b"}, b'{"c": 1}')]


def test_an_answer_is_given_once(lab: Lab) -> None:
    assert unanswered(lab.exchange)
    lab.run(lambda *_: Answer(200, "late"))
    assert lab.pair.hears_nothing()


def test_who_sees_to_the_answer_itself_is_left_to_it(lab: Lab) -> None:
    lab.run(lambda *_: None)
    assert lab.pair.hears_nothing() and unanswered(lab.exchange)


@pytest.mark.parametrize("claimed", [False, True])
def test_errors_are_told_and_faults_are_logged(lab: Lab, claimed: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> Answer:
        raise KeyError("x")

    def refuse(*_: object) -> Answer:
        raise Conflict("it has ended")

    if claimed:
        unanswered(lab.exchange)
        lab.run(fail)
        lab.run(refuse)
        assert lab.pair.hears_nothing()
    else:
        lab.run(fail)
        status, text = lab.pair.hears()
        assert (status, json.loads(text)["detail"]) == (500, "internal error: see the log of the daemon")
        lab.run(refuse)
        assert lab.pair.hears_nothing()
    assert [each.message for each in caplog.records if each.exc_info] == ["POST /api/v1/x from a:1"]


def test_an_error_is_told(lab: Lab) -> None:
    def refuse(*_: object) -> Answer:
        raise Conflict("it has ended")

    lab.run(refuse)
    status, text = lab.pair.hears()
    assert (status, json.loads(text)["detail"]) == (409, "it has ended")


def test_the_words_of_a_query_are_taken_apart_once(lab: Lab) -> None:
    seen: list[Any] = []
    for _ in range(2):
        lab.run(lambda exchange, _: seen.append(exchange.words), takes=("a",))
    assert seen[0] == {"a": "b"} and lab.exchange.head.words is seen[0] is seen[1]


@pytest.mark.parametrize(
    "lab", ["POST /api/v1/x?a=b HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded"], indirect=True
)
def test_a_form_is_read_though_the_words_of_the_query_are_known(lab: Lab) -> None:
    seen: list[Any] = []
    for form in (b"", b"c=d", b""):
        lab.run(lambda exchange, _: seen.append({**exchange.words}), form, takes=("a", "c"))
    assert seen == [{"a": "b"}, {"a": "b", "c": "d"}, {"a": "b"}]


@pytest.mark.parametrize("first", ["GET /api/v1/pdus HTTP/1.1", "GET /nodes HTTP/1.1", "GET /x HTTP/1.1"])
def test_who_tries_again_and_again_is_told_later(first: str, caplog: pytest.LogCaptureFixture) -> None:
    """And at once, who only has not heard yet that a token is needed."""
    path = first.split()[1]
    orders: Any = SimpleNamespace(dispatcher=SimpleNamespace(config=CONFIG))

    def permit(*_: object) -> Client:
        raise Denied(401, "the token is not valid here")

    with connected(lambda c: HTTPSpeech(c, orders, find)) as pair:
        listener = SimpleNamespace(
            open=False, permit=permit, refusals=Refusals(lambda when, call: None), options=None, access=None
        )
        pair.connection.listener = listener  # type: ignore[assignment]

        def asks(*headers: str) -> None:
            pair.connection.received += "".join(f"{line}\r\n" for line in (first, *headers, "")).encode()
            assert pair.connection.speech.take()

        for headers in (("Authorization: Bearer x",),) * FREE + ((),):
            asks(*headers)
            status, text = pair.hears()
            assert status == (403 if path == "/nodes" else 401) and not pair.thread.planned
            assert (
                text == "Forbidden" if path == "/nodes" else json.loads(text)["detail"] == "the token is not valid here"
            )
        assert caplog.messages == [f"GET {path} from a:1: the token is not valid here"]
        before = time.monotonic()
        asks("Authorization: Bearer x")
        assert pair.hears_nothing()
        ((when, tell),) = pair.thread.planned
        assert before + PAUSE <= when <= time.monotonic() + PAUSE
        tell()
        assert pair.hears()[0] == (403 if path == "/nodes" else 401)
