# SPDX-License-Identifier: MIT
"""What of a command one sees and may take back: his own nodes, as if there were no others."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import Conflict, NoSuchRequest
from pdudaemon.server import commands
from pdudaemon.server.messages import Misdirected


class Dispatcher:
    """A command of nodes, by the number of the request of each; those that ``begun`` are not cancelled any more."""

    def __init__(self, **nodes: int) -> None:
        self.nodes = [{"name": name, "request": number, "ended": None} for name, number in nodes.items()]
        self.begun: set[int] = set()
        self.gone: set[int] = set()
        self.cancelled: list[tuple[int, str]] = []

    def end(self, number: int) -> None:
        for node in self.nodes:
            if node["request"] == number:
                node["ended"] = 5.0

    def command(self, number: int) -> dict[str, Any]:
        assert number == 7
        state = "ended" if all(node["ended"] for node in self.nodes) else "running"
        return {"id": 7, "state": state, "nodes": copy.deepcopy(self.nodes)}

    def record(self, number: int) -> dict[str, Any]:
        if number in self.gone:
            raise NoSuchRequest("it is forgotten")
        outlets = [{"pdu": node["name"], "port": "1"} for node in self.nodes if node["request"] == number]
        return {"id": number, "action": "on", "outlets": outlets}

    def cancel(self, number: int, half: str) -> None:
        if number in self.begun:
            raise Conflict("it is being carried out")
        if any(node["ended"] for node in self.nodes if node["request"] == number):
            raise Conflict("it has ended")
        self.cancelled.append((number, half))
        self.end(number)


def exchange(dispatcher: Dispatcher, *sees: str, half: str = "", locked: str = "") -> Any:
    """Return what somebody asks who sees some nodes, or all, and may not switch the one that is ``locked``."""
    rights = SimpleNamespace(
        everything=not sees,
        sees_node=lambda name: not sees or name in sees,
        may=lambda action, outlets: "no" if locked in [outlet.pdu for outlet in outlets] else "",
    )
    return SimpleNamespace(rights=rights, dispatcher=dispatcher, words={"half": half} if half else {})


def shown(asked: Any) -> Any:
    answer = commands.show(asked, "7")
    assert answer is not None and answer.status == 200
    return answer.body


def test_who_sees_all_of_it_is_shown_all_of_it() -> None:
    dispatcher = Dispatcher(a=1, b=2)
    for asked in (exchange(dispatcher), exchange(dispatcher, "a", "b")):
        assert shown(asked) == dispatcher.command(7)
    assert shown(exchange(Dispatcher()))["nodes"] == []


def test_who_sees_a_part_is_shown_that_as_if_it_were_all() -> None:
    dispatcher = Dispatcher(a=1, b=2)
    dispatcher.end(1)
    assert shown(exchange(dispatcher, "a")) == {
        "id": 7,
        "state": "ended",
        "nodes": [{"name": "a", "request": 1, "ended": 5.0}],
    }
    assert shown(exchange(dispatcher, "b"))["state"] == shown(exchange(dispatcher))["state"] == "running"
    assert [node["name"] for node in shown(exchange(dispatcher, "b"))["nodes"]] == ["b"]
    for asked in (exchange(dispatcher, "c"), exchange(Dispatcher(), "c")):
        with pytest.raises(NoSuchRequest, match="there is no command 7"):
            commands.show(asked, "7")


def taken_back(asked: Any) -> dict[str, Any]:
    answer = commands.cancel(asked, "7")
    assert answer is not None and answer.status == 200
    body: Any = answer.body
    return {node["name"]: node.get("kept") for node in body["nodes"]}


def test_what_has_not_begun_is_taken_back_once() -> None:
    dispatcher = Dispatcher(a=1, twin=1, b=2, c=3, d=4)
    dispatcher.begun = {2}
    dispatcher.end(3)
    told = taken_back(exchange(dispatcher))
    assert dispatcher.cancelled == [(1, ""), (4, "")]
    assert told == {"a": None, "twin": None, "b": "it is being carried out", "c": None, "d": None}


def test_the_half_is_passed_on() -> None:
    dispatcher = Dispatcher(a=1)
    taken_back(exchange(dispatcher, half="on"))
    assert dispatcher.cancelled == [(1, "on")]
    with pytest.raises(Misdirected, match="half: 'off' is not on") as refused:
        commands.cancel(exchange(dispatcher, half="off"), "7")
    assert refused.value.http_status == 400


def test_what_one_may_not_take_back_is_kept() -> None:
    dispatcher = Dispatcher(a=1, b=2, c=3)
    dispatcher.gone = {3}
    told = taken_back(exchange(dispatcher, "a", "b", "c", locked="b"))
    assert dispatcher.cancelled == [(1, "")] and told == {"a": None, "b": "no", "c": "it is forgotten"}
    other = Dispatcher(a=1, b=2)
    assert taken_back(exchange(other, "b")) == {"b": None} and other.cancelled == [(2, "")]


def test_what_ends_meanwhile_is_not_said_to_be_kept() -> None:
    dispatcher = Dispatcher(a=1)
    dispatcher.begun = {1}
    record = dispatcher.record

    def ends(number: int) -> dict[str, Any]:
        dispatcher.end(1)
        return record(number)

    dispatcher.record = ends  # type: ignore[method-assign]
    assert taken_back(exchange(dispatcher)) == {"a": None}


def test_what_is_taken_back_and_has_not_ended_yet_is_not_said_to_be_kept() -> None:
    dispatcher = Dispatcher(a=1, b=2)
    dispatcher.end = lambda number: None  # type: ignore[method-assign]
    assert taken_back(exchange(dispatcher)) == {"a": None, "b": None} and dispatcher.cancelled == [(1, ""), (2, "")]
