# SPDX-License-Identifier: MIT
"""The OpenFlight API over a pair of sockets and a rack: what is carried out, and what is told of each node, to the byte."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pdudaemon.errors import Denied
from pdudaemon.power import Action, Outlet, State
from pdudaemon.server import openflight
from pdudaemon.server.openflight import LINES, PATIENCE, command
from pdudaemon.server.orders import Orders
from pdudaemon.server.rights import EVERYTHING, Rights, RoleRights
from tests.support.pair import Pair, asked
from tests.support.process import eventually
from tests.support.rack import Rack

NODES: dict[str, Any] = {
    "n1": {"hostname": "a", "port": 1},
    "n2": {"hostname": "a", "port": 2},
    "kept": {"hostname": "a", "port": 3, "locked": True},
    "lost": {"hostname": "nowhere", "port": 1},
    "b1": {"hostname": "b", "port": 1},
    "c1": {"hostname": "c", "port": 1},
    "d1": {"hostname": "d", "port": 1},
    "named": {"hostname": "a", "port": "name:lamp"},
}
ROLES = {"r": {"nodes": "n2", "may": ["on", "status"]}}
HTML = "Content-Type: text/html;charset=utf-8\r\n"
SAFE = "X-Content-Type-Options: nosniff\r\n"


class Lab(Rack):
    sections = {"nodes": NODES, "groups": {"pair": "n[1-2]"}, "roles": ROLES}


class Front:
    """Asks, and reads what is told."""

    def __init__(self, rack: Lab, stack: ExitStack) -> None:
        self.rack = rack
        self.orders = Orders(rack.dispatcher)
        self._stack = stack

    def ask(
        self, action: Action, *headers: str, rights: Rights = EVERYTHING, method: str = "GET", **words: str
    ) -> Pair:
        pair, exchange = self._stack.enter_context(asked(self.orders, f"{method} / HTTP/1.1", *headers))
        exchange.rights, exchange.words = rights, words
        exchange.give(lambda: command(action)(exchange, ""))
        return pair

    def told(self, action: Action, *headers: str, rights: Rights = EVERYTHING, **words: str) -> dict[str, Any]:
        """Return the attributes that are told of each node."""
        return {each["id"]: each["attributes"] for each in self.whole(action, *headers, rights=rights, **words)["data"]}

    def whole(self, action: Action, *headers: str, rights: Rights = EVERYTHING, **words: str) -> Any:
        status, text = self.ask(action, *headers, rights=rights, **words).hears()
        assert status == 200
        return json.loads(text)


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    one = Lab(tmp_path_factory.mktemp("rack"), {"a": {}, "b": {}, "c": {}, "d": {}}, wait=40)
    yield one
    one.stop()


@pytest.fixture
def front(rack: Lab) -> Iterator[Front]:
    with ExitStack() as stack:
        yield Front(rack, stack)


def raw(pair: Pair) -> tuple[str, str]:
    """Return head and body of an answer that has come at once."""
    head, _, body = pair.client.recv(100_000).decode().partition("\r\n\r\n")
    return f"{head}\r\n", body


@pytest.mark.parametrize(("action", "name", "delay"), [(Action.ON, "power_on", 0.0), (Action.OFF, "power_off", 0.0)])
def test_what_is_done_is_told(front: Front, action: Action, name: str, delay: float) -> None:
    answer = front.whole(action, nodes="n1,b1", groups="none")
    assert answer["meta"] == {"missing-groups": ["none"]}
    numbers = [each["attributes"].pop("request") for each in answer["data"]]
    shared = {"action": name, "platform": "dummy", "missing": False, "success": True, "error": None}
    assert answer["data"] == [
        {"type": "commands", "id": node, "attributes": {**shared, "node-name": node}} for node in ("n1", "b1")
    ]
    for number in numbers:
        record = front.rack.dispatcher.record(number)
        assert (record["action"], record["delay"], record["state"]) == (action.value, delay, "done")


def test_a_restart_waits_between(front: Front) -> None:
    pair = front.ask(Action.REBOOT, nodes="d1", wait="0", key="restart")
    (each,) = json.loads(pair.hears()[1])["data"]
    attributes = each["attributes"]
    assert (attributes["action"], attributes["success"], attributes["pending"]) == ("restart", True, True)
    record = front.rack.dispatcher.record(attributes["request"])
    assert (record["action"], record["delay"]) == ("reboot", 5.0)
    again = front.told(Action.REBOOT, nodes="d1", wait="0", key="restart")
    assert again["d1"]["request"] == attributes["request"], "by the same key it is the same"


def test_a_command_says_where_it_is(front: Front) -> None:
    pair = front.ask(Action.ON, nodes="n1", wait="0")
    head, body = raw(pair)
    number = json.loads(body)["data"][0]["attributes"]["request"]
    (line,) = (line for line in head.splitlines() if line.startswith("X-Command-Id: "))
    command_id = line.partition(": ")[2]
    assert f"Location: /api/v1/commands/{command_id}\r\n" in head and SAFE in head
    assert front.rack.dispatcher.command(int(command_id))["nodes"][0]["request"] == number
    head, body = raw(front.ask(Action.ON, nodes="kept"))
    assert "X-Command-Id" not in head and "Location" not in head and SAFE in head


def test_what_is_refused_is_told_of_each(front: Front) -> None:
    told = front.told(Action.OFF, nodes="nobody,kept,lost")
    assert (told["nobody"]["missing"], told["nobody"]["platform"], told["nobody"]["success"]) == (
        True,
        "missing",
        False,
    )
    assert told["nobody"]["error"] == "there is no alias or node 'nobody'"
    assert (told["kept"]["missing"], told["kept"]["error"]) == (False, "a port 3 is locked by the configuration")
    assert (told["lost"]["platform"], told["lost"]["success"]) == ("missing", False)
    assert all("request" not in each and "pending" not in each for each in told.values())


def test_states_are_told(front: Front) -> None:
    inventory = front.rack.dispatcher.inventory
    assert front.told(Action.ON, nodes="n1")["n1"]["success"]
    told = front.told(Action.STATUS, nodes="n1,nobody")
    assert (told["n1"]["action"], told["n1"]["running"], told["n1"]["success"]) == ("status", True, True)
    assert (told["nobody"]["running"], told["nobody"]["success"]) == (None, False)
    assert inventory.outlet(Outlet("a", "1")).state is State.ON


def test_a_state_that_is_not_told_in_time_is_given_up(front: Front) -> None:
    before = time.monotonic()
    front.rack.hold("c", "7")
    try:
        for words, wait in (({}, PATIENCE), ({"wait": "7"}, 7.0)):
            pair = front.ask(Action.STATUS, nodes="c1", **words)
            assert before + wait <= pair.connection.deadline <= time.monotonic() + wait
            assert pair.hears_nothing()
        late = pair.connection.exchange.late if pair.connection.exchange is not None else None
        assert late is not None
        late()
        pair.thread.done_later.pop()()
        (each,) = json.loads(pair.hears()[1])["data"]
        assert each["attributes"]["success"] is False and each["attributes"]["running"] is None
    finally:
        front.rack.let_go("c")


@pytest.mark.parametrize(
    ("action", "words", "how"),
    [
        (Action.ON, {}, (0.0, 40.0, 40.0, "", None, True)),
        (Action.REBOOT, {"wait": "3"}, (5.0, 3.0, 3.0, "", None, True)),
        (Action.OFF, {"soft": "9"}, (0.0, 40.0, 49.0, "", 9.0, True)),
        (Action.OFF, {"wait": "3", "soft": "9", "hard": "no", "key": "k"}, (0.0, 3.0, 12.0, "k", 9.0, False)),
    ],
)
def test_how_a_command_is_carried_out(
    front: Front, monkeypatch: pytest.MonkeyPatch, action: Action, words: dict[str, str], how: tuple[Any, ...]
) -> None:
    carried: list[tuple[Any, ...]] = []
    monkeypatch.setattr(openflight, "carry_out", lambda *words: carried.append(words))
    front.ask(action, nodes="b1", **words)
    ((telling, targets, *rest),) = carried
    assert telling.action is action and targets["b1"].outlets == (Outlet("b", "1"),) and tuple(rest) == how


@pytest.mark.parametrize(("most", "seconds"), [(40, 40.0), (300, PATIENCE)])
def test_who_does_not_say_waits_no_longer_than_his_client(
    front: Front, monkeypatch: pytest.MonkeyPatch, most: int, seconds: float
) -> None:
    carried: list[tuple[Any, ...]] = []
    monkeypatch.setattr(openflight, "carry_out", lambda *words: carried.append(words))
    monkeypatch.setattr(front.rack.dispatcher.config.daemon, "wait", most)
    front.ask(Action.ON, nodes="b1")
    assert carried[0][3] == seconds


def test_lines_come_as_they_are_known(front: Front) -> None:
    pair = front.ask(Action.ON, f"Accept: {LINES}", nodes="kept,nobody", groups="none")
    head, body = raw(pair)
    assert f"Content-Type: {LINES}\r\n" in head and SAFE in head and "X-Command-Id" not in head
    lines = [json.loads(line) for line in body.splitlines() if line.startswith("{")]
    assert lines[0] == {"meta": {"count": 2, "names": ["kept", "nobody"], "missing-groups": ["none"]}}
    assert [each["id"] for each in lines[1:]] == ["kept", "nobody"] and body.endswith("0\r\n\r\n")
    pair = front.ask(Action.ON, f"Accept: {LINES}", nodes="n1", wait="0")
    head, body = raw(pair)
    lines = [json.loads(line) for line in body.splitlines() if line.startswith("{")]
    assert [*lines[0]["meta"]] == ["command", "count", "names"]
    assert f"X-Command-Id: {lines[0]['meta']['command']}\r\n" in head and lines[1]["id"] == "n1"


def test_each_node_is_told_of_once(front: Front) -> None:
    assert [*front.told(Action.STATUS, nodes="n2,n1", groups="pair")] == ["n2", "n1"]
    assert front.whole(Action.STATUS, nodes="") == {"data": []}
    assert front.whole(Action.STATUS, nodes="@no", groups="none")["meta"] == {"missing-groups": ["no", "none"]}


def test_who_has_a_role_is_told_what_he_may_see(front: Front) -> None:
    rights = RoleRights(front.rack.dispatcher.config, ("r",))
    told = front.told(Action.ON, rights=rights, nodes="n1,n2")
    assert [each["missing"] for each in told.values()] == [True, False] and told["n2"]["success"]
    told = front.told(Action.OFF, rights=rights, nodes="n2")
    assert not told["n2"]["success"] and "the role r may not switch off" in told["n2"]["error"]


def test_names_on_the_device_are_read_first(front: Front) -> None:
    known = front.rack.dispatcher.inventory.pdu("a")
    assert known is not None
    known.read = None
    pair = front.ask(Action.ON, nodes="named")
    eventually(lambda: pair.thread.done_later)
    assert pair.hears_nothing()
    pair.thread.done_later.pop()()
    (each,) = json.loads(pair.hears()[1])["data"]
    assert (each["attributes"]["success"], each["attributes"]["missing"]) == (False, False)
    assert "the names of its outlets have not been read yet" in each["attributes"]["error"]


@pytest.mark.parametrize(
    ("action", "words", "text"),
    [
        (Action.ON, {"wait": "<x>"}, "wait: '&lt;x&gt;' is not a number of seconds"),
        (Action.ON, {"key": "é"}, "key: must be at most 200 printable characters of ASCII"),
        (Action.ON, {"soft": "5"}, "soft: is for off and reboot, not for on"),
        (Action.OFF, {"hard": "no"}, "hard: means nothing without soft"),
        (Action.ON, {"nodes": "n[1-"}, "Unrecognised nodes syntax: "),
        (Action.ON, {"groups": "n[1-"}, "Unrecognised groups syntax: "),
    ],
)
def test_what_is_not_understood(front: Front, action: Action, words: dict[str, str], text: str) -> None:
    head, body = raw(front.ask(action, **words))
    assert head.startswith("HTTP/1.1 400 ") and HTML in head and SAFE in head and body.startswith(text)


def test_what_is_not_there(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    with asked(front.orders, "PUT /nodes HTTP/1.1") as (pair, exchange):
        exchange.give(lambda: openflight.not_found(exchange, ""))
        head, body = raw(pair)
    assert head.startswith("HTTP/1.1 404 ") and HTML in head and SAFE in head and body == "<h1>Not Found</h1>"
    assert caplog.messages == ["PUT /nodes from a:1: nothing was done"]


@pytest.mark.parametrize(
    ("error", "shown", "header"),
    [
        (Denied(401, "a token is needed"), "", "Bearer"),
        (Denied(401, "it has expired"), "Bearer x", 'Bearer error="invalid_token", error_description="it has expired"'),
        (Denied(403, "no"), "Bearer x", None),
        (Denied(403, "no"), "", None),
    ],
)
def test_who_may_not_is_told_as_recorded(error: Denied, shown: str, header: str | None) -> None:
    answer = openflight.forbidden(error, shown)
    assert (answer.status, answer.body, answer.content_type) == (403, b"Forbidden", "text/html;charset=utf-8")
    assert answer.headers.get("WWW-Authenticate") == header and answer.headers["X-Content-Type-Options"] == "nosniff"


def test_lists(front: Front) -> None:
    with asked(front.orders, "GET /nodes HTTP/1.1") as (_, exchange):
        exchange.rights = RoleRights(front.rack.dispatcher.config, ("r",))
        for serve, data in (
            (openflight.nodes, [{"type": "nodes", "id": "n2", "attributes": {"name": "n2"}}]),
            (openflight.groups, [{"type": "groups", "id": "pair", "attributes": {"name": "pair", "nodes": ["n2"]}}]),
        ):
            answer = serve(exchange, "")
            assert answer.status == 200 and isinstance(answer.body, bytes)
            assert json.loads(answer.body) == {"data": data} and answer.headers["X-Content-Type-Options"] == "nosniff"
