# SPDX-License-Identifier: MIT
"""What is said of a request and of each of its feeds, for clients that accept JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.engine.front.siteorders import SiteRequest
from pdudaemon.errors import NoSuchRequest, PDUDaemonError, StoreError, TransientError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Reading, Request, State, Target
from pdudaemon.server.control import _described, became, control, feeds, record
from pdudaemon.server.control import status as serve_status
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.rights import EVERYTHING
from tests.support.pair import asked as asked_for
from tests.support.process import Daemon

A, B, C, D = (Outlet(pdu, "1") for pdu in "abcd")


def asked(*outlets: Outlet) -> Request:
    return Request(Action.OFF, Target("x", outlets), 0, "", 0.0, Phase.OFF, id=7, remaining=[*outlets])


def test_a_single_outlet_is_what_the_request_is() -> None:
    assert feeds(asked(A)) == {}


def test_each_feed_is_done_or_says_why_not() -> None:
    """Done is what has ended well, and is not to be switched once more."""
    request = asked(A, B, C)
    assert feeds(request) == {
        "feeds": [{"pdu": pdu, "port": "1", "done": False, "reason": None} for pdu in "abc"],
    }
    request = asked(A, B, C, D)
    request.results = {A: None, B: TransientError("refused"), C: None}
    request.remaining = [C]  # and of D nothing is known
    assert [(each["done"], each["reason"]) for each in feeds(request)["feeds"]] == [
        (True, None),
        (False, "refused"),
        (False, None),
        (False, None),
    ]


class Records:
    """What is on record, or why it cannot be read."""

    def __init__(self, found: dict[str, Any] | PDUDaemonError) -> None:
        self._found = found

    def record(self, number: int) -> dict[str, Any]:
        assert number == 7
        if isinstance(self._found, PDUDaemonError):
            raise self._found
        return self._found


def exchange(found: dict[str, Any] | PDUDaemonError) -> Any:
    return SimpleNamespace(rights=EVERYTHING, dispatcher=Records(found))


@pytest.mark.parametrize("error", [NoSuchRequest("gone"), StoreError("no disk")])
def test_what_cannot_be_read_is_not_undone(error: PDUDaemonError) -> None:
    assert record(exchange(error), 7, Outcome.DONE) == {"id": 7, "state": "done"}
    assert record(exchange(error), 7, None) == {"id": 7, "state": "accepted"}
    assert record(exchange({"id": 7, "state": "running"}), 7, None) == {"id": 7, "state": "running"}
    request = asked(A)
    request.outcome = Outcome.FAILED
    assert became(exchange(error), request) == {"id": 7, "state": "failed"}


def test_what_a_feed_says_of_itself() -> None:
    place = {"pdu": "a", "port": "1"}
    found = _described(A, Reading(State.ON, "device", 5.0))
    assert found == {**place, "state": "on", "source": "device", "time": 5.0}
    assert _described(A, TransientError("deaf")) == {**place, "state": "unknown", "reason": "deaf"}


def test_what_a_site_says_of_a_request_is_shown_as_far_as_it_may_be() -> None:
    def request(record: dict[str, Any]) -> SiteRequest:
        return SiteRequest(Action.ON, Target("x", (A,)), 0.0, "", 0.0, Phase.ON, record=record)

    shows: Any = SimpleNamespace(rights=SimpleNamespace(shown=lambda record: {**record, "target": "hidden"}))
    whole = {"id": "berlin/7", "target": "x", "outlets": [], "feeds": [1]}
    assert became(shows, request(whole)) == {**whole, "target": "hidden"}
    assert became(shows, request({"id": "berlin/7", "state": "done"})) == {"id": "berlin/7", "state": "done"}
    assert feeds(request(whole)) == {"feeds": [1]} and feeds(request({"id": "berlin/7"})) == {}


class Taking:
    """Takes an order, and has its client told what came of it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "conf"
        path.write_text(json.dumps({"pdus": {"a": {"driver": "dummy"}}}))
        self.dispatcher = SimpleNamespace(config=reader.load(str(path)), record=lambda number: {"id": number})
        self.order: Any = None
        self.told: Any = None

    def carry_out(self, order: Any, client: object, exchange: HTTPExchange, told: Any) -> None:
        assert client is exchange.client
        self.order, self.told = order, told

    def look(self, order: Any, exchange: HTTPExchange, told: Any) -> None:
        self.order, self.told = order, told

    def tells(self, serve: Any, word: str, *told: Any, accept: str = "*/*") -> tuple[int, Any, str]:
        """Return status, body and headers of the answer once something has come of an order."""
        with asked_for(self, f"GET /power/control/{word} HTTP/1.1", f"Accept: {accept}") as (pair, exchange):
            exchange.words = {"hostname": "a", "port": "1"}
            exchange.give(lambda: serve(exchange, word))
            assert pair.hears_nothing() and self.order.target.outlets == (Outlet("a", "1"),)
            self.told(*told)
            head, _, body = pair.client.recv(10_000).decode().partition("\r\n\r\n")
            return int(head.split()[1]), json.loads(body) if "json" in head else body, head


def test_what_came_of_an_order_is_told(tmp_path: Path) -> None:
    taking = Taking(tmp_path)
    request = asked(A)
    numbered = f"X-Request-Id: {request.number}\r\nLocation: /api/v1/requests/{request.number}\r\n"
    status, body, head = taking.tells(control, "on", request, None)
    assert (status, body) == (200, "OK - accepted request\n") and numbered in head and taking.order.action.value == "on"
    status, body, head = taking.tells(control, "off", request, None, accept="application/json")
    assert (status, body) == (200, {"id": 7}) and numbered in head and taking.order.action.value == "off"
    twin = asked(A, B)
    assert len(taking.tells(control, "on", twin, None, accept="application/json")[1]["feeds"]) == 2
    status, body, head = taking.tells(control, "on", twin, TransientError("deaf"), accept="application/json")
    assert (status, body["detail"], body["request"], len(body["feeds"])) == (502, "deaf", 7, 2) and numbered in head
    status, body, head = taking.tells(control, "on", request, TransientError("deaf"))
    assert (status, body) == (502, "deaf\n") and numbered in head


def test_what_an_outlet_is_is_told(tmp_path: Path) -> None:
    taking = Taking(tmp_path)
    one = Reading(State.ON, "device", 5.0)
    twin = Reading(State.ON, "device", 5.0, ((A, one), (B, Reading(State.OFF, "device", 6.0))))
    for answer in (one, twin):
        assert taking.tells(serve_status, "status", answer)[:2] == (200, "on\n")
    assert taking.order.action is Action.STATUS
    json_ = {"accept": "application/json"}
    shown = {"pdu": "a", "port": "1", "state": "on", "source": "device", "time": 5.0}
    assert taking.tells(serve_status, "status", one, **json_)[:2] == (200, shown)
    other = {"pdu": "b", "port": "1", "state": "off", "source": "device", "time": 6.0}
    whole = {"state": "on", "source": "device", "time": 5.0, "mixed": True, "feeds": [shown, other]}
    assert taking.tells(serve_status, "status", twin, **json_)[:2] == (200, whole)
    alike = Reading(State.ON, "device", 5.0, ((A, one), (B, one)))
    assert taking.tells(serve_status, "status", alike, **json_)[1]["mixed"] is False
    for accept in ("application/json", "*/*"):
        status, body, _ = taking.tells(serve_status, "status", TransientError("deaf"), accept=accept)
        assert status == 502 and (body["detail"] if isinstance(body, dict) else body) in ("deaf", "deaf\n")


def test_what_clients_that_accept_json_are_told(daemon: Callable[..., Daemon]) -> None:
    twin = {"feeds": [{"hostname": "a", "port": 1}, {"hostname": "b", "port": 2}]}
    half = {"feeds": [{"hostname": "a", "port": 3}, {"hostname": "no", "port": 3}]}
    started = daemon(
        {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}, "no": {"driver": "dummy", "refuse": "welded"}},
        nodes={"one": twin["feeds"][0], "twin": twin, "half": half},
    )

    def ask(action: str, where: str) -> tuple[int, dict[str, Any]]:
        reply = started.http(f"/power/control/{action}?{where}", Accept="application/json")
        return reply.status, {word: told for word, told in reply.json.items() if word != "time"}

    status, told = ask("on", "alias=one")
    assert (status, told["id"], told["state"]) == (200, 1, "done") and "feeds" not in told
    at_a = {"pdu": "a", "port": "1", "source": "device"}
    assert ask("status", "hostname=a&port=01") == (200, {**at_a, "state": "on"})
    status, told = ask("status", "alias=twin")
    assert status == 200 and (told["state"], told["source"], told["mixed"]) == ("on", "device", True)
    assert [(each["pdu"], each["state"]) for each in told["feeds"]] == [("a", "on"), ("b", "off")]
    status, told = ask("on", "alias=twin")
    assert status == 200 and [each["done"] for each in told["feeds"]] == [True, True]
    status, told = ask("status", "alias=twin")
    assert (status, told["state"], told["mixed"], len(told["feeds"])) == (200, "on", False, 2)
    plain = started.http("/power/control/off?alias=twin")
    assert (plain.status, plain.text, plain.headers["X-Request-Id"]) == (200, "OK - accepted request\n", "3")
    plain = started.http("/power/control/status?alias=twin")
    assert (plain.status, plain.text) == (200, "off\n")
    status, told = ask("status", "alias=none")
    assert status == 503 and "there is no alias or node 'none'" in told["detail"]
    for status, told in (ask("on", "alias=half"), ask("status", "hostname=no&port=1")):
        assert status == 502 and told["type"] == "urn:pdudaemon:device-refused" and "welded" in told["detail"]
    told = ask("on", "alias=half")[1]
    assert told["request"] == 5 and [each["done"] for each in told["feeds"]] == [True, False]
