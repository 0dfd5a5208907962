# SPDX-License-Identifier: MIT
"""Who is served over HTTP, over a pair of sockets: whom the listener knows, who asks for what is open, and what of that
in which thread.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import Denied
from pdudaemon.server import tls
from pdudaemon.server.client import Client
from pdudaemon.server.http import HTTPExchange, HTTPSpeech, Route, everybody
from pdudaemon.server.messages import Answer, Head
from pdudaemon.server.refusals import Refusals
from pdudaemon.server.rights import EVERYTHING
from tests.support.pair import Pair, connected

ANN = Client("192.0.2.7", 9, "ann")


class Lab:
    """A listener that knows nobody but who says ``Bearer ann``; ``denied`` is what others are told."""

    def __init__(self, pair: Pair, daemon: Any) -> None:
        self.pair, self.daemon = pair, daemon
        self.route = Route(self.serve)
        self.denied = Denied(401, "a token is needed")
        self.looked_for: list[Head] = []
        self.served: list[HTTPExchange] = []
        self.asked: list[tuple[Client, str]] = []
        self.listener: Any = SimpleNamespace(
            open=False,
            permit=self.permit,
            refusals=Refusals(lambda when, call: None),
            options=SimpleNamespace(client_ca="", hostname="lab"),
            access=SimpleNamespace(by_token=True),
        )
        pair.connection.listener = self.listener

    def permit(self, client: Client, authorization: str, shown: object) -> Client:
        self.asked.append((client, authorization))
        assert shown is None
        if authorization != "Bearer ann":
            raise self.denied
        return ANN

    def find(self, head: Head) -> tuple[Route, str]:
        self.looked_for.append(head)
        return self.route, ""

    def serve(self, exchange: HTTPExchange, _: str) -> Answer:
        self.served.append(exchange)
        return Answer(200, "well")

    def asks(self, *headers: str, path: str = "/x") -> None:
        self.pair.connection.received += "".join(
            f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", *headers, "")
        ).encode()
        assert self.pair.connection.speech.take()


@pytest.fixture
def lab() -> Iterator[Lab]:
    daemon = SimpleNamespace(trusted_proxies=(), origins=())
    orders: Any = SimpleNamespace(
        dispatcher=SimpleNamespace(config=SimpleNamespace(daemon=daemon)), rights=lambda client: (client, "rights")
    )
    with connected(lambda c: HTTPSpeech(c, orders, lambda head: made[0].find(head))) as pair:
        made = [Lab(pair, daemon)]
        yield made[0]


def test_whom_the_listener_knows_is_served_with_his_rights(lab: Lab) -> None:
    lab.asks("Authorization: Bearer ann")
    assert lab.pair.hears() == (200, "well\n") and lab.asked == [(lab.pair.connection.client, "Bearer ann")]
    (exchange,) = lab.served
    assert exchange.client is ANN and exchange.rights == (ANN, "rights") and not exchange.stranger


def test_where_everybody_may_ask_nobody_is_looked_at(lab: Lab) -> None:
    lab.listener.open = True
    lab.asks("Authorization: Bearer ann")
    assert lab.pair.hears() == (200, "well\n") and not lab.asked
    assert lab.served[0].client is lab.pair.connection.client and lab.served[0].rights is EVERYTHING


def test_who_shows_nothing_good_is_told_why_he_is_not_served(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    for headers in ((), ("Authorization: Bearer bob",)):
        lab.asks(*headers)
        status, text = lab.pair.hears()
        assert (status, json.loads(text)["detail"]) == (401, "a token is needed") and not lab.served
    assert caplog.messages == ["GET /x from a:1: a token is needed"]
    lab.route = Route(lab.serve, forbidden=lambda error, authorization: Answer(418, f"{error} {authorization}"))
    lab.asks("Authorization: Bearer bob")
    assert lab.pair.hears() == (418, "a token is needed Bearer bob\n")


@pytest.mark.parametrize(
    ("status", "client_ca", "by_token", "served"),
    [
        (401, "", True, True),
        (403, "", True, False),
        (403, "/ca", False, True),
        (403, "/ca", True, False),
        (403, "", False, False),
    ],
)
def test_what_is_open_is_for_all_but_who_is_in_no_network_that_is_allowed(
    lab: Lab, status: int, client_ca: str, by_token: bool, served: bool
) -> None:
    lab.route = Route(lab.serve, open_to=everybody)
    lab.denied = Denied(status, "no")
    lab.listener.options.client_ca, lab.listener.access.by_token = client_ca, by_token
    lab.asks()
    assert lab.pair.hears()[0] == (200 if served else status) and bool(lab.served) is served
    if served:
        assert lab.served[0].stranger and lab.served[0].client is lab.pair.connection.client


def test_it_is_open_to_those_for_whom_it_is(lab: Lab) -> None:
    asked: list[Any] = []

    def second(*who: Any) -> bool:
        asked.append(who)
        return len(asked) == 2

    lab.route = Route(lab.serve, open_to=second)
    lab.asks()
    assert lab.pair.hears()[0] == 401
    lab.asks()
    assert lab.pair.hears()[0] == 200 and asked == [(lab.pair.connection.client, lab.daemon)] * 2


@pytest.mark.parametrize("header", ["Authorization: Bearer ann", "Authorization: Bearer bob"])
def test_a_route_that_is_known_is_not_looked_for(lab: Lab, header: str) -> None:
    lab.asks(header, path="/known")
    assert lab.pair.hears()[0] in (200, 401)
    (head,) = lab.looked_for
    head.found = Route(lambda *_: Answer(201, "made"), open_to=everybody), ""
    lab.asks(header, path="/known")
    assert lab.pair.hears() == (201, "made\n") and lab.looked_for == [head]
    head.found = None


def test_a_proxy_says_who_asks_and_where_it_has_us(lab: Lab) -> None:
    lab.pair.connection.client = Client("192.0.2.1", 5)
    headers = ("X-Forwarded-For: 198.51.100.9", "X-Forwarded-Prefix: /lab")
    lab.asks("Authorization: Bearer ann", *headers)
    assert lab.pair.hears()[0] == 200 and lab.asked[-1][0].address == "192.0.2.1" and lab.served[-1].prefix == ""
    lab.daemon.trusted_proxies = (ip_network("192.0.2.0/24"),)
    lab.asks("Authorization: Bearer ann", *headers)
    assert (
        lab.pair.hears()[0] == 200 and lab.asked[-1][0] == Client("198.51.100.9", 0) and lab.served[-1].prefix == "/lab"
    )
    lab.asks(*headers, "Forwarded: for=198.51.100.8")
    assert lab.pair.hears()[0] == 503 and len(lab.asked) == len(lab.served) == 2


@pytest.mark.parametrize("slow", [False, True])
def test_a_browser_is_looked_at_by_another_thread(lab: Lab, slow: bool) -> None:
    """As that may have to ask the name service; and what is not slow is served by the selector's all the same."""
    lab.route = Route(lab.serve, slow=slow)
    called: list[Any] = []
    lab.pair.thread.call = called.append  # type: ignore[method-assign]
    lab.asks("Authorization: Bearer ann", "Host: lab", "Origin: http://lab")
    assert lab.pair.hears_nothing() and not lab.served
    lab.pair.thread.done_later.pop()()
    assert bool(lab.served) is slow
    for call in called:
        call()
    assert lab.pair.hears() == (200, "well\n") and len(lab.served) == 1 and bool(called) is not slow


@pytest.mark.parametrize(
    ("by_token", "switches", "host", "source", "secure", "served"),
    [
        (True, True, "lab", "http://lab", False, True),
        (True, True, "lab", "http://evil", False, False),
        (True, False, "lab", "http://evil", False, True),
        (True, True, "evil", "http://evil", False, True),  # it cannot have a token
        (False, True, "evil", "http://evil", False, False),
        (False, False, "evil", "http://evil", False, False),
        (True, True, "lab:443", "https://lab", True, True),
        (True, True, "lab", "https://lab", True, True),
        (True, True, "lab", "http://lab", True, False),
    ],
)
def test_a_page_of_strangers_has_nothing_done(
    lab: Lab, by_token: bool, switches: bool, host: str, source: str, secure: bool, served: bool
) -> None:
    lab.pair.connection.client = Client("192.0.2.1", 5)
    lab.daemon.trusted_proxies = (ip_network("192.0.2.0/24"),)
    lab.listener.access.by_token = by_token
    lab.route = Route(lab.serve, switches=switches, slow=True)
    proxy = ("X-Forwarded-Proto: https",) if secure else ()
    lab.asks("Authorization: Bearer ann", f"Host: {host}", f"Origin: {source}", *proxy)
    lab.pair.thread.done_later.pop()()
    assert lab.pair.hears()[0] == (200 if served else 403) and bool(lab.served) is served


def test_what_is_slow_is_served_by_another_thread(lab: Lab) -> None:
    lab.route = Route(lab.serve, slow=True)
    lab.asks("Authorization: Bearer ann")
    assert lab.pair.hears_nothing() and not lab.served
    lab.pair.thread.done_later.pop()()
    assert lab.pair.hears() == (200, "well\n")


class Secure(tls.TLSSocket):
    """Speaks no TLS, but is what does."""

    def __init__(self, raw: socket.socket) -> None:
        self.certified = None
        self._raw = raw

    def send(self, data: bytes) -> int:
        return self._raw.send(data)


def test_what_comes_over_tls_is_of_a_page_that_did(lab: Lab) -> None:
    lab.pair.connection.socket = Secure(lab.pair.connection.socket)  # type: ignore[assignment]
    for source, status in (("https://lab", 200), ("http://lab", 403)):
        lab.asks("Authorization: Bearer ann", "Host: lab", f"Origin: {source}")
        lab.pair.thread.done_later.pop()()
        assert lab.pair.hears()[0] == status
