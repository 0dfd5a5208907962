# SPDX-License-Identifier: MIT
"""What is asked of a site that says what a test wants, for who looks at something there or takes it back, and shown.

What sites that are as they should be show together is in `test_siteviews`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.engine.front.sitemirror import Translation
from pdudaemon.server import siteviews
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer
from pdudaemon.server.siteviews import ANSWER, LATE, Several, is_elsewhere
from tests.support.lyingsite import NODE, OUTLET, PDU, LyingSite, problem, reply
from tests.support.pair import Pair, asked, unanswered
from tests.support.process import Daemon, Reply, eventually
from tests.support.tokens import SECRET, good

ROLES: dict[str, Any] = {
    "one": {"pdus": "berlin/p1:1", "may": ["status", "on"]},
    "whole": {"pdus": "berlin/p1", "may": ["on", "off"]},
}
ODD = "a b/ü"
"""The name of a PDU, which has to be escaped."""


class Lab:
    """A front with one site that says what a test wants, and one that is away."""

    def __init__(self, stack: ExitStack, front: Daemon) -> None:
        self.site = stack.enter_context(LyingSite())
        self._odd = {**OUTLET, "pdu": ODD, "nodes": []}
        self.begin()
        sites = {"berlin": {"url": self.site.url}, "paris": {"url": "http://127.0.0.1:1"}}
        self.front = front
        front.configure({**front.settings, "sites": sites, "roles": ROLES})
        front.start()
        stack.callback(front.kill)
        front.token = good(sub="root")
        eventually(lambda: front.http("/api/v1/sites").json["sites"][0]["reachable"])

    def begin(self) -> None:
        """Have the site say nothing but what it has."""
        self.site.lies = {
            "GET /api/v1/outlets": lambda: reply([OUTLET, self._odd]),
            "GET /api/v1/nodes": lambda: reply([NODE]),
            "GET /api/v1/pdus?": lambda: reply([PDU, {**PDU, "name": ODD}]),
        }

    def ask(self, path: str, *roles: str, method: str = "GET") -> Reply:
        self.site.questions.clear()
        token = good(sub="x", roles=[*roles]) if roles else self.front.token
        return self.front.http(path, method, Authorization=f"Bearer {token}")

    def says(self, question: str, answer: bytes) -> None:
        others = {each: lie for each, lie in self.site.lies.items() if each != question}
        self.site.lies = {question: lambda: answer, **others}

    def asked(self) -> list[str]:
        """Return what the site was asked of requests and single PDUs."""
        every = [each.asked for each in self.site.questions]
        return [each for each in every if "/requests/" in each or "/pdus/" in each]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack, Daemon(tmp_path_factory.mktemp("front"), {"own": {"driver": "dummy"}}, secret=SECRET))


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.begin()
    return shared


def record(number: int = 7, port: int = 1, **more: object) -> dict[str, Any]:
    """Return a request of the site."""
    told = {"id": number, "action": "off", "target": f"board{port} (p1 port {port})", "state": "queued"}
    return {**told, "accepted": 5.0, "outlets": [{"pdu": "p1", "port": str(port)}], "command": 3, **more}


def test_the_sites_are_shown_to_who_may_do_everything(lab: Lab) -> None:
    told = lab.ask("/api/v1/sites").json
    own, *others = told["daemons"]
    assert others == ["a-site"] and own not in others and told["names"].startswith(f"{own}-")
    berlin, paris = told["sites"]
    assert berlin == {"name": "berlin", "reachable": True, "reason": None, "prefix": True, "pdus": 2, "nodes": 1}
    assert (paris["name"], paris["reachable"], paris["nodes"]) == ("paris", False, 0) and "refused" in paris["reason"]
    assert lab.ask("/api/v1/sites", "one").json == {**told, "sites": []}


def test_one_request_is_shown_as_its_site_tells_it(lab: Lab) -> None:
    lab.says("GET /api/v1/requests/7", reply(record()))
    shown = lab.ask("/api/v1/requests/berlin/7", "one")
    assert shown.status == 200 and lab.asked() == ["GET /api/v1/requests/7"]
    assert (shown.json["id"], shown.json["command"]) == ("berlin/7", "berlin/3")
    assert shown.json["target"] == "berlin/board1 (berlin/p1 port 1)"
    assert shown.json["outlets"] == [{"pdu": "berlin/p1", "port": "1"}]
    lab.says("GET /api/v1/requests/7", reply(record(target="other (p1 port 1)")))
    assert lab.ask("/api/v1/requests/berlin/7", "one").json["target"] == "berlin/p1 port 1"
    lab.says("GET /api/v1/requests/rome/8", reply(record("rome/8")))  # type: ignore[arg-type]
    assert lab.ask("/api/v1/requests/berlin/rome/8").json["id"] == "berlin/rome/8"


def test_what_may_not_be_seen_is_not_there(lab: Lab) -> None:
    lab.says("GET /api/v1/requests/7", reply(record(port=2)))
    for method in ("GET", "DELETE"):
        hidden = lab.ask("/api/v1/requests/berlin/7", "one", method=method)
        assert (hidden.status, hidden.json["detail"]) == (404, "there is no request berlin/7")
        assert lab.asked() == ["GET /api/v1/requests/7"]
    assert lab.ask("/api/v1/requests/berlin/7").json["id"] == "berlin/7"


def test_what_a_site_says_instead_is_passed_on(lab: Lab) -> None:
    lab.says("GET /api/v1/requests/7", problem("no-such-request", "there is no request 7", 404))
    missing = lab.ask("/api/v1/requests/berlin/7")
    assert (missing.status, missing.json["detail"]) == (404, "berlin: there is no request 7")
    undated = {word: said for word, said in record().items() if word != "outlets"}
    for nonsense in (record(outlets=[]), record(id=None), record(outlets=[{}]), record(outlets=7), undated, [], "x"):
        lab.says("GET /api/v1/requests/7", reply(nonsense))
        for method in ("GET", "DELETE"):
            told = lab.ask("/api/v1/requests/berlin/7", method=method)
            assert (told.status, told.json["type"]) == (504, "urn:pdudaemon:unanswered"), nonsense
            assert told.json["detail"] == "berlin: what it says is not understood" and len(lab.asked()) == 1
    away = lab.ask("/api/v1/requests/paris/7")
    assert (away.status, away.json["type"]) == (503, "urn:pdudaemon:site-unreachable")


def test_who_may_takes_a_request_back(lab: Lab) -> None:
    lab.says("GET /api/v1/requests/7", reply(record()))
    lab.says("DELETE /api/v1/requests/7", reply(record(state="cancelled")))
    for query in ("", "?half=on"):
        for roles in ((), ("whole",)):
            gone = lab.ask(f"/api/v1/requests/berlin/7{query}", *roles, method="DELETE")
            assert (gone.status, gone.json["id"], gone.json["state"]) == (200, "berlin/7", "cancelled")
            assert gone.json["target"] == "berlin/board1 (berlin/p1 port 1)"
            assert lab.asked() == ["GET /api/v1/requests/7", f"DELETE /api/v1/requests/7{query}"]
    refused = lab.ask("/api/v1/requests/berlin/7", "one", method="DELETE")
    assert (refused.status, refused.json["detail"]) == (403, "the role one may not switch off berlin/p1 port 1")
    assert lab.asked() == ["GET /api/v1/requests/7"]
    lab.says("DELETE /api/v1/requests/7", problem("conflict", "it has begun", 409))
    late = lab.ask("/api/v1/requests/berlin/7", method="DELETE")
    assert (late.status, late.json["detail"]) == (409, "berlin: it has begun")


def test_what_a_pdu_drew_is_shown_as_far_as_it_may_be(lab: Lab) -> None:
    lab.says("GET /api/v1/pdus/p1/watts", reply({"pdu": [[5.0, 9.5]], "outlets": {"1": [[6.0, 1.5]], "2": [[6.0, 8]]}}))
    path = "/api/v1/pdus/berlin%2Fp1/watts"
    both = {"1": [[6.0, 1.5]], "2": [[6.0, 8]]}
    assert lab.ask(path).status == 200
    assert lab.ask(path).json == lab.ask(path, "whole").json == {"pdu": [[5.0, 9.5]], "outlets": both}
    assert lab.ask(path, "one").json == {"pdu": [], "outlets": {"1": [[6.0, 1.5]]}}
    lab.says("GET /api/v1/pdus/a%20b%2F%C3%BC/watts", reply({"pdu": [], "outlets": {}}))
    assert lab.ask("/api/v1/pdus/berlin%2Fa%20b%2F%C3%BC/watts").json == {"pdu": [], "outlets": {}}
    for nonsense in ({}, {"pdu": 7, "outlets": {}}, {"pdu": [], "outlets": []}, {"pdu": [[1]], "outlets": {}}):
        lab.says("GET /api/v1/pdus/p1/watts", reply(nonsense))
        assert lab.ask(path).status == 504, nonsense


def test_a_pdu_is_shown_as_its_site_knows_it_now(lab: Lab) -> None:
    outlet = {**OUTLET, "state": "off", "watts": 3.5}
    lab.says("GET /api/v1/pdus/p1", reply({**PDU, "watts": 4.5, "outlets": [outlet]}))
    shown = lab.ask("/api/v1/pdus/berlin%2Fp1")
    assert (shown.json["watts"], shown.json["outlets"][0]["watts"], shown.json["outlets"][0]["state"]) == (
        4.5,
        3.5,
        "off",
    )
    assert lab.asked() == ["GET /api/v1/pdus/p1"]
    lab.says("GET /api/v1/pdus/p1", problem("store", "the disk is full", 503))
    shown = lab.ask("/api/v1/pdus/berlin%2Fp1")  # as it was known
    assert shown.status == 200 and shown.json["watts"] == 4.5
    fresh = lab.ask("/api/v1/pdus/berlin%2Fp1?fresh=1")
    assert fresh.status == 503 and "the disk is full" in fresh.json["detail"]
    assert lab.asked() == ["GET /api/v1/pdus/p1?fresh=1"]
    lab.says("GET /api/v1/pdus/p1", reply({**PDU, "watts": 5.5, "outlets": [outlet]}))
    assert lab.ask("/api/v1/pdus/berlin%2Fp1?fresh=1").json["watts"] == 5.5
    lab.says("GET /api/v1/pdus/a%20b%2F%C3%BC", reply({**PDU, "name": ODD, "watts": 6.5, "outlets": []}))
    assert lab.ask("/api/v1/pdus/berlin%2Fa%20b%2F%C3%BC").json["watts"] == 6.5


@pytest.mark.parametrize(
    ("number", "elsewhere"), [("7", False), ("berlin/7", True), ("7,8", True), ("٧", True), ("", True)]
)
def test_a_number_of_digits_is_of_here(number: str, elsewhere: bool) -> None:
    assert is_elsewhere(number) is elsewhere


class Silent:
    """A site whose thread says nothing. What it was asked is in ``asked``."""

    def __init__(self) -> None:
        self.name = "berlin"
        self.translation = Translation("berlin", prefix=True)
        self.asked: list[tuple[Any, ...]] = []

    def ask(self, *asked: Any) -> None:
        self.asked.append(asked)


@pytest.fixture
def asking() -> Iterator[tuple[Pair, HTTPExchange]]:
    """A client, and what it asks for."""
    orders: Any = SimpleNamespace(dispatcher=SimpleNamespace(config=None))
    with asked(orders, "GET /api/v1/x HTTP/1.1") as found:
        yield found


def late(pair: Pair, exchange: HTTPExchange, seconds: float, before: float) -> dict[str, Any]:
    """Have so many seconds be over, and return what the client is told."""
    assert before + seconds <= pair.connection.deadline <= time.monotonic() + seconds
    assert exchange.late is not None
    exchange.late()
    pair.thread.done_later.pop()()
    told: dict[str, Any] = json.loads(pair.client.recv(10_000).partition(b"\r\n\r\n")[2])
    assert not unanswered(exchange)
    return told


def test_a_site_whose_thread_says_nothing_is_waited_for_no_longer_than_some_seconds(
    asking: tuple[Pair, HTTPExchange],
) -> None:
    pair, exchange = asking
    site: Any = Silent()
    before = time.monotonic()
    siteviews.give(exchange, site, "GET", "/x", 9.0, lambda _: Answer(200, "x"))
    told = late(pair, exchange, 9.0 + LATE, before)
    assert (told["status"], told["detail"]) == (504, "berlin: there is no answer from its thread")
    assert site.asked[0][:3] == ("GET", "/x", 9.0)


def test_what_is_known_is_shown_if_a_sites_thread_says_nothing(asking: tuple[Pair, HTTPExchange]) -> None:
    pair, exchange = asking
    site: Any = Silent()
    before = time.monotonic()
    siteviews.behind(exchange, site, "berlin/p1", lambda: Answer(200, '{"known": 1}'))
    assert late(pair, exchange, ANSWER + LATE, before) == {"known": 1}
    assert site.asked[0][:3] == ("GET", "/api/v1/pdus/p1", ANSWER)


def test_several_sites_of_which_one_says_nothing(asking: tuple[Pair, HTTPExchange]) -> None:
    pair, exchange = asking
    site: Any = Silent()
    before = time.monotonic()
    Several(exchange, lambda _, found: found, lambda *_: Answer(200, "x")).ask({"a": (site, "GET", "/x")}, 9.0)
    assert not pair.thread.done_later
    told = late(pair, exchange, 9.0 + LATE, before)
    assert (told["status"], told["detail"]) == (504, "there is no answer from the threads of some sites")


def test_several_answers_are_one_when_all_are_there(asking: tuple[Pair, HTTPExchange]) -> None:
    pair, exchange = asking
    site: Any = Silent()
    questions: Any = {name: (site, "GET", f"/{name}") for name in "abc"}
    made: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def understood(name: str, found: int) -> str:
        return f"{name}{found + 1}"

    def answer(found: dict[str, Any], errors: dict[str, Any]) -> Any:
        made.append((found, errors))
        return Answer(200, "x")

    Several(exchange, understood, answer).ask(questions)
    heard = [asked[3] for asked in site.asked]
    assert [asked[:3] for asked in site.asked] == [("GET", f"/{name}", ANSWER) for name in "abc"]
    error = ValueError("b")
    heard[0](1, None)
    heard[1](None, error)
    assert not pair.thread.done_later
    with pytest.raises(TypeError):
        heard[2]("no number", None)
    assert not pair.thread.done_later
    heard[2](3, None)
    pair.thread.done_later.pop()()
    assert made == [({"a": "a2", "c": "c4"}, {"b": error})]
