# SPDX-License-Identifier: MIT
"""What a ``POST /api/v1/requests`` is understood to ask for, over a pair of sockets: each field, default and bound.

With a daemon it is tried in `test_newrequests`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import LONGEST_WAIT
from pdudaemon.engine.outlets import Known
from pdudaemon.errors import Conflict
from pdudaemon.power import Action, Outlet, Request, State
from pdudaemon.server import newrequests
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.newrequests import create
from pdudaemon.server.orders import LONGEST_KEY, REBOOT_DELAY, Order, Orders
from pdudaemon.server.rights import EVERYTHING, Rights, RoleRights
from tests.support.pair import Pair, asked
from tests.support.rack import Rack, awaited, submitted

NODES: dict[str, Any] = {
    "n1": {"hostname": "a", "port": 1},
    "n2": {"hostname": "a", "port": 2},
    "named": {"hostname": "a", "port": "name:router"},
}
ROLES = {"r": {"nodes": "n2", "may": ["on"]}}


class Racked(Rack):
    sections = {"nodes": NODES, "groups": {"all": "n1,n2"}, "roles": ROLES}


class Lab:
    """Takes what is asked for; ``ordered`` is what was to be carried out, ``commanded`` how."""

    def __init__(self, rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rack = rack
        orders: Any = Orders(rack.dispatcher)
        orders.carry_out = self._carry_out
        self.orders = orders
        self.ordered: list[Order] = []
        self.told: Any = None
        self.commanded: list[tuple[Any, ...]] = []
        self.stack = ExitStack()
        monkeypatch.setattr(newrequests, "carry_out", lambda *words: self.commanded.append(words))

    def _carry_out(self, order: Order, client: object, exchange: HTTPExchange, told: Any) -> None:
        assert client is exchange.client
        self.ordered.append(order)
        self.told = told

    def asks(self, content: Any, *headers: str, rights: Rights = EVERYTHING) -> tuple[Pair, HTTPExchange]:
        head = ("POST /api/v1/requests HTTP/1.1", "Content-Type: application/json", *headers)
        pair, exchange = self.stack.enter_context(asked(self.orders, *head))
        exchange.rights = rights
        exchange.body = json.dumps(content).encode()
        exchange.give(lambda: create(exchange, ""))
        return pair, exchange

    def order(self, *headers: str, **content: Any) -> Order:
        """Return what is ordered."""
        pair, _ = self.asks(content, *headers)
        assert pair.hears_nothing() and not pair.thread.done_later
        return self.ordered.pop()

    def command(self, *headers: str, **content: Any) -> tuple[Any, ...]:
        """Return the command that a thread of the pool has carried out: who is told of it, and how it is."""
        pair, _ = self.asks(content, *headers)
        assert not self.commanded
        pair.thread.done_later.pop()()
        assert pair.hears_nothing()
        return self.commanded.pop()

    def refused(self, content: Any, *headers: str) -> tuple[int, str | None, str]:
        pair, _ = self.asks(content, *headers)
        for call in pair.thread.done_later:
            call()
        status, text = pair.hears()
        assert not self.ordered and not self.commanded
        return status, json.loads(text).get("field"), json.loads(text)["detail"]


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    one = Racked(Path(tmp_path_factory.mktemp("rack")), {"a": {}}, wait=40, max_delay=100)
    yield one
    one.stop()


@pytest.fixture
def lab(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    one = Lab(rack, monkeypatch)
    yield one
    one.stack.close()


# One outlet.


@pytest.mark.parametrize(
    ("content", "order"),
    [
        ({}, {}),
        ({"action": "off"}, {"action": Action.OFF}),
        ({"action": "reboot"}, {"action": Action.REBOOT, "delay": REBOOT_DELAY}),
        ({"action": "restart", "delay": 0}, {"action": Action.REBOOT, "delay": 0.0}),
        ({"action": "reboot", "delay": 7}, {"action": Action.REBOOT, "delay": 7.0, "postponed": 7.0}),
        ({"delay": 100}, {"delay": 100.0, "postponed": 100.0}),
        ({"wait": 0}, {"wait": 0.0}),
        ({"wait": LONGEST_WAIT}, {"wait": LONGEST_WAIT}),
        ({"key": "k"}, {"key": "k"}),
        ({"key": None, "delay": None, "wait": None, "soft": None, "hard": None}, {}),
        ({"action": "off", "soft": 9}, {"action": Action.OFF, "soft": 9.0, "postponed": 9.0}),
        ({"action": "off", "soft": 0}, {"action": Action.OFF, "soft": 0.0}),
        ({"action": "off", "soft": 9, "hard": True}, {"action": Action.OFF, "soft": 9.0, "postponed": 9.0}),
        (
            {"action": "reboot", "soft": 9, "delay": 20, "hard": False},
            {"action": Action.REBOOT, "soft": 9.0, "delay": 20.0, "postponed": 29.0, "hard": False},
        ),
    ],
)
@pytest.mark.parametrize("where", [{"hostname": "a", "port": 1}, {"hostname": "a", "port": "01"}, {"alias": "n1"}])
def test_an_order(lab: Lab, where: dict[str, Any], content: dict[str, Any], order: dict[str, Any]) -> None:
    target = lab.rack.dispatcher.config.node("n1") if "alias" in where else lab.rack.dispatcher.config.target("a", "1")
    plain = Order(Action.ON, target, 0.0, None, 0.0, "", None, True)
    assert lab.order(**{"action": "on", **where, **content}) == plain._replace(**order)


@pytest.mark.parametrize(
    ("header", "field", "key"),
    [
        ("", {}, ""),
        ("k1", {}, "k1"),
        ('"k1"', {"key": "k1"}, "k1"),
        (' "k1" ', {}, "k1"),
        ("", {"key": "k2"}, "k2"),
        ("k1", {"key": ""}, "k1"),
        ("", {"key": "k" * LONGEST_KEY}, "k" * LONGEST_KEY),
    ],
)
def test_a_key_is_that_of_the_field_or_of_the_header(lab: Lab, header: str, field: dict[str, str], key: str) -> None:
    headers = [f"Idempotency-Key: {header}"] if header else []
    assert lab.order(*headers, action="on", alias="n1", **field).key == key
    assert lab.command(*headers, action="on", nodes="n1", **field)[5] == key


def real_request(lab: Lab) -> Request:
    """Return a request that is done."""
    dispatcher = lab.rack.dispatcher
    request = submitted(dispatcher, Action.ON, dispatcher.config.node("n1"))
    assert awaited(dispatcher, request, 60)
    return request


@pytest.mark.parametrize(
    ("key", "accepted", "ended", "status"),
    [
        ("", 0.0, None, 202),
        ("", 0.0, 5.0, 201),
        ("k", None, 5.0, 201),
        ("k", 0.0, 5.0, 200),
        ("k", 0.0, None, 200),
    ],
)
def test_what_became_of_it_is_told(
    lab: Lab, key: str, accepted: float | None, ended: float | None, status: int
) -> None:
    request = real_request(lab)
    pair, _ = lab.asks({"action": "on", "alias": "n1", "key": key})
    request.accepted = time.time() + 50 if accepted is None else accepted
    request.ended = ended
    lab.told(request, None)
    response = pair.client.recv(10_000).decode()
    assert response.startswith(f"HTTP/1.1 {status} ")
    assert f"X-Request-Id: {request.number}\r\nLocation: /api/v1/requests/{request.number}\r\n" in response
    told = json.loads(response.partition("\r\n\r\n")[2])
    assert told["id"] == request.number and told["action"] == "on"


def test_why_it_is_not_done_is_told(lab: Lab) -> None:
    request = real_request(lab)
    pair, _ = lab.asks({"action": "on", "alias": "n1"})
    lab.told(request, Conflict("no"))
    response = pair.client.recv(10_000).decode()
    assert response.startswith("HTTP/1.1 409 ") and f"Location: /api/v1/requests/{request.number}\r\n" in response
    told = json.loads(response.partition("\r\n\r\n")[2])
    assert (told["detail"], told["request"]) == ("no", request.number)


# Several nodes.


@pytest.mark.parametrize(
    ("content", "how"),
    [
        ({}, (0.0, 40.0, 40.0, "", None, True)),
        ({"action": "reboot"}, (REBOOT_DELAY, 40.0, 40.0, "", None, True)),
        ({"action": "reboot", "delay": 0}, (0.0, 40.0, 40.0, "", None, True)),
        ({"delay": 9, "wait": 0}, (9.0, 0.0, 9.0, "", None, True)),
        ({"wait": 3, "key": "k"}, (0.0, 3.0, 3.0, "k", None, True)),
        ({"action": "off", "soft": 7, "hard": False}, (0.0, 40.0, 47.0, "", 7.0, False)),
        ({"action": "reboot", "soft": 7, "delay": 20, "wait": 1}, (20.0, 1.0, 28.0, "", 7.0, True)),
    ],
)
def test_how_a_command_is_carried_out(lab: Lab, content: dict[str, Any], how: tuple[Any, ...]) -> None:
    telling, targets, *rest = lab.command(**{"action": "on", "nodes": "n1", **content})
    assert tuple(rest) == how and [*targets] == ["n1"] and targets["n1"].outlets == (Outlet("a", "1"),)
    assert telling.action.value == content.get("action", "on")
    assert telling._waited is (content.get("wait") != 0) and (telling._began is None) is ("key" not in content)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({"nodes": "n[1-2]"}, ["n1", "n2"]),
        ({"nodes": ["n2", "n1", "n2"]}, ["n2", "n1"]),
        ({"groups": "all"}, ["n1", "n2"]),
        ({"groups": ["all"], "nodes": []}, ["n1", "n2"]),
        ({"nodes": "n2", "groups": "all"}, ["n2", "n1"]),
        ({"nodes": ["@all"]}, ["n1", "n2"]),
        ({"nodes": ["n1"], "groups": []}, ["n1"]),
    ],
)
def test_which_nodes_are_commanded(lab: Lab, words: dict[str, Any], names: list[str]) -> None:
    telling, targets, *_ = lab.command(action="on", **words)
    assert [*telling.names] == [*targets] == names


def test_a_name_on_the_device_is_read_first(lab: Lab) -> None:
    known = lab.rack.dispatcher.inventory.pdu("a")
    assert known is not None
    known.read = None
    known.outlets = {}
    pair, _ = lab.asks({"action": "on", "nodes": "named"})
    pair.thread.done_later.pop()()
    assert not lab.commanded, "it waits for the names"
    known.outlets = {"3": Known(State.ON, "device", 5.0, "router")}
    known.read = lab.rack.clock.wall()
    _, targets, *_ = lab.command(action="on", nodes="named")
    assert targets["named"].outlets == (Outlet("a", "3"),)


# What is refused.


@pytest.mark.parametrize(
    ("content", "status", "field", "detail"),
    [
        ({}, 400, "action", "action: is missing: on, off, reboot, restart"),
        ({"action": "x" * 30}, 400, "action", f"action: '{'x' * 20}' is none of on, off, reboot, restart"),
        ({"action": "restar"}, 400, "action", "did you mean 'restart'?"),
        (
            {"action": "on"},
            400,
            "nodes",
            "nodes: say what is to be switched: nodes, groups, alias, or hostname and port",
        ),
        ({"action": "on", "port": 1}, 400, "nodes", "say what is to be switched"),
        ({"action": "on", "alias": "n1", "hostname": "a"}, 400, "alias", "alias: cannot be given beside hostname"),
        ({"action": "on", "groups": "all", "alias": "n1"}, 400, "groups", "groups: cannot be given beside alias"),
        ({"action": "on", "nodes": "n1", "groups": "all", "alias": "n1"}, 400, "nodes", "cannot be given beside alias"),
        ({"action": "on", "nodes": "n1", "port": 1}, 400, "port", "port: cannot be given beside nodes"),
        ({"action": "on", "alias": "n1", "port": 1}, 400, "port", "port: cannot be given beside alias"),
        ({"action": "on", "hostname": "a"}, 400, "port", "port: is missing"),
        ({"action": "on", "hostname": "b", "port": 1}, 422, "hostname", "hostname: there is no PDU 'b'"),
        ({"action": "on", "hostname": "a", "port": 99}, 422, "port", "port: a: '99' is not a port"),
        ({"action": "on", "hostname": "a", "port": ""}, 422, "port", "port: is missing"),
        ({"action": "on", "hostname": "", "port": ""}, 422, "hostname", "hostname: is missing"),
        ({"action": "on", "alias": "n9"}, 422, "alias", "alias: there is no alias or node 'n9'"),
        ({"action": "on", "nodes": "n[1-"}, 400, "nodes", "nodes: "),
        ({"action": "on", "groups": "n[1-"}, 400, "groups", "groups: "),
        ({"action": "on", "groups": "x" * 60}, 422, "groups", f"groups: there is no group '{'x' * 50}'"),
        ({"action": "on", "groups": "al"}, 422, "groups", "groups: there is no group 'al'; did you mean 'all'?"),
        ({"action": "on", "nodes": "@al"}, 422, "nodes", "nodes: there is no group 'al'; did you mean 'all'?"),
        ({"action": "on", "nodes": [], "groups": []}, 422, "nodes", "nodes: stands for no node"),
        ({"action": "on", "groups": []}, 422, "groups", "groups: stands for no node"),
        ({"action": "on", "alias": "n1", "delay": 100.5}, 400, "delay", "delay: is not within 0 and 100 seconds"),
        ({"action": "off", "alias": "n1", "soft": 100.5}, 400, "soft", "soft: is not within 0 and 100 seconds"),
        ({"action": "on", "alias": "n1", "wait": LONGEST_WAIT + 1}, 400, "wait", "wait: is not within 0 and"),
        ({"action": "on", "alias": "n1", "soft": 5}, 400, "soft", "soft: is for off and reboot, not for on"),
        ({"action": "off", "alias": "n1", "hard": True}, 400, "hard", "hard: means nothing without soft"),
        ({"action": "on", "alias": "n1", "key": "k" * (LONGEST_KEY + 1)}, 400, "key", "key: must be at most"),
        ({"action": "on", "alias": "n1", "node": 1}, 400, "node", "node: unknown field; did you mean 'nodes'?"),
    ],
)
def test_what_is_refused(lab: Lab, content: dict[str, Any], status: int, field: str, detail: str) -> None:
    found = lab.refused(content)
    assert found[:2] == (status, field) and detail in found[2]


def test_two_keys_are_refused(lab: Lab) -> None:
    found = lab.refused({"action": "on", "alias": "n1", "key": "k2"}, "Idempotency-Key: k1")
    assert found == (400, "key", "key: differs from the header Idempotency-Key")


@pytest.mark.parametrize("headers", [("Content-Type: text/plain",), ()])
def test_it_is_json_that_is_read(lab: Lab, headers: tuple[str, ...]) -> None:
    with asked(lab.orders, "POST /api/v1/requests HTTP/1.1", *headers) as (pair, exchange):
        exchange.body = b'{"action": "on", "alias": "n1"}'
        exchange.give(lambda: create(exchange, ""))
        assert pair.hears()[0] == 415 and not lab.ordered


def test_what_may_not_be_seen_is_not_there(lab: Lab) -> None:
    rights = RoleRights(lab.rack.dispatcher.config, ("r",))
    for content in ({"alias": "n1"}, {"nodes": "n1"}):
        pair, _ = lab.asks({"action": "on", **content}, rights=rights)
        for call in pair.thread.done_later:
            call()
        assert not lab.ordered
    assert not lab.commanded or not lab.commanded.pop()[1]
    pair, _ = lab.asks({"action": "on", "alias": "n2"}, rights=rights)
    assert lab.ordered.pop().target.outlets == (Outlet("a", "2"),)
