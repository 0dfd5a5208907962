# SPDX-License-Identifier: MIT
"""Commands over several nodes without a socket: who shares a request, what each is told, and when all has been."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.errors import PDUDaemonError, TransientError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Reading, Request, State, Target
from pdudaemon.server.client import Client
from pdudaemon.server.rights import EVERYTHING, RoleRights
from pdudaemon.server.switching import MOST_GUESSES, Telling, _own, _sharing, carry_out
from tests.support.process import eventually
from tests.support.rack import Rack

NODES = {
    "a1": {"hostname": "a", "port": 1},
    "a1-again": {"hostname": "a", "port": 1},
    "b1": {"hostname": "b", "port": 1},
    "both": {"feeds": [{"hostname": "a", "port": 1}, {"hostname": "b", "port": 1}]},
    "fixed": {"hostname": "b", "port": 2, "locked": True},
}


class Told(Telling):
    """``lines`` is all that was told, in order."""

    def __init__(self, exchange: Any, action: Action, *names: str) -> None:
        super().__init__(exchange, action, names)
        self.lines: list[Any] = []

    def _spelled(self, name: str, answer: Reading | PDUDaemonError | None, request: Request | None) -> dict[str, Any]:
        return {"name": name, "told": str(answer.state) if isinstance(answer, Reading) else str(answer or "done")}

    def _first(self) -> None:
        self.lines.append(("first", self.command))

    def _next(self, entry: dict[str, Any]) -> None:
        self.lines.append((entry["name"], entry["told"]))

    def _last(self, entries: list[dict[str, Any]]) -> None:
        self.lines.append([entry["name"] for entry in entries])


class Exchange:
    """Who asks; ``late`` is what is called when the time is over."""

    def __init__(self, rack: Rack) -> None:
        self.dispatcher = rack.dispatcher
        self.rights: Any = EVERYTHING
        self.client = Client("192.0.2.1", 7)
        self.late: list[tuple[float, Callable[[], None]]] = []

    @property
    def config(self) -> Any:
        return self.rights.view(self.dispatcher.config)

    def within(self, seconds: float, call: Callable[[], None]) -> None:
        self.late.append((seconds, call))


class Lab(Rack):
    def config(self) -> Any:
        found = super().config()
        path = Path(self._folder / "nodes")
        roles = {"half": {"nodes": "a1", "may": ["on"]}}
        path.write_text(json.dumps({"daemon": self._daemon, "pdus": self.pdus, "nodes": NODES, "roles": roles}))
        read = reader.load(str(path))
        assert not read.faults
        return replace(read, pdus={name: found.pdus[name] for name in read.pdus})


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    one = Lab(tmp_path, {"a": {}, "b": {}})
    yield one
    for event in one.held.values():
        event.set()
    one.stop()


def switched(
    lab: Rack, action: Action, *names: str, wait: float = 60.0, seconds: float = 60.0, key: str = "", **words: Any
) -> Told:
    """Have nodes switched."""
    telling = Told(Exchange(lab), action, *names)
    carry_out(telling, telling.targets(), words.pop("delay", 0.0), wait, seconds, key, **words)
    return telling


def test_nodes_that_share_an_outlet_are_one_request_if_only_by_way_of_others() -> None:
    def target(*ports: int) -> Target:
        return Target("", tuple(Outlet("pdu", str(port)) for port in ports))

    targets = {"a": target(1), "b": target(2), "c": target(3, 4), "d": target(2, 3), "e": target(1), "f": target(9)}
    assert _sharing(targets) == [["a", "e"], ["b", "d", "c"], ["f"]]
    assert _sharing({}) == [] and _sharing({"a": target(1)}) == [["a"]]


def test_each_node_is_told_of_its_own_outlets_if_they_are_all_known() -> None:
    one, other = Outlet("pdu", "1"), Outlet("pdu", "2")
    first, second, all_of_it = TransientError("first"), TransientError("second"), TransientError("all")
    request = Request(Action.OFF, Target("x", (one, other)), 0, "", 0.0, Phase.OFF)

    def own(*outlets: Outlet, trouble: PDUDaemonError | None = all_of_it) -> str:
        return str(_own(Target("", outlets), request, trouble))

    request.results = {one: None}
    assert own(one) == "all", "it has not ended"
    for outcome in (Outcome.FAILED, Outcome.GIVEN_UP, Outcome.SUPERSEDED):
        request.outcome = outcome
        assert own(one) == "None" and own(other) == own(one, other) == "all" and own(one, trouble=None) == "None"
    request.results = {one: first, other: second}
    assert own(one) == "first" and own(one, other) == "first; second" and own(one, other, trouble=None) == "None"
    for outcome in (Outcome.CANCELLED, Outcome.EXPIRED, Outcome.INTERRUPTED, Outcome.DONE):
        request.outcome = outcome
        assert own(one) == "all"


def test_all_is_told_once_in_the_end_in_order(lab: Lab) -> None:
    telling = Told(Exchange(lab), Action.ON, "x", "y", "z")
    telling.entry("z", None)
    assert telling.lines == [] and telling.left() == ["x", "y"]
    telling.begin(7)
    assert telling.lines == [("first", 7), ("z", "done")]
    telling.entry("z", TransientError("again"))
    telling.entry("y", Reading(State.ON, "device", 1.0))
    assert telling.lines[2:] == [("y", "on")] and telling.left() == ["x"]
    telling.entry("x", TransientError("no"))
    assert telling.lines[3:] == [("x", "no"), ["x", "y", "z"]]
    telling.entry("x", None)
    telling.entry("w", None)
    assert len(telling.lines) == 5


def test_what_is_known_before_it_begins_ends_it_at_once(lab: Lab) -> None:
    telling = Told(Exchange(lab), Action.ON, "x")
    telling.entry("x", None)
    telling.begin()
    assert telling.lines == [("first", None), ("x", "done"), ["x"]]


def test_what_cannot_be_is_told_of_each_node(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    telling = Told(Exchange(lab), Action.ON, "a1", "fixed", "both2")
    assert [*telling.targets()] == ["a1"]
    telling.begin()
    assert telling.lines[1][0] == "fixed" and "locked" in telling.lines[1][1]
    assert telling.lines[2] == ("both2", "there is no alias or node 'both2'; did you mean 'both'?")
    assert [each.levelno for each in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages[1].startswith("on both2 from 192.0.2.1:7: there is no alias or node 'both2'")
    caplog.clear()
    looking = Told(Exchange(lab), Action.STATUS, "a1", "fixed", "both2")
    assert [*looking.targets()] == ["a1", "fixed"] and not caplog.records


@pytest.mark.parametrize("more", [0, 1])
def test_of_many_wrong_names_none_is_guessed_at(lab: Lab, more: int) -> None:
    names = [f"both{number}" for number in range(MOST_GUESSES - 1 + more)]
    telling = Told(Exchange(lab), Action.ON, "a1", *names)
    assert len(telling.names) == MOST_GUESSES + more and [*telling.targets()] == ["a1"]
    telling.begin()
    guess = "" if more else "; did you mean 'both'?"
    assert telling.lines[1:] == [(name, f"there is no alias or node '{name}'{guess}") for name in names]


def test_who_may_not_is_told_so_of_each(lab: Lab) -> None:
    exchange = Exchange(lab)
    exchange.rights = RoleRights(lab.dispatcher.config, ("half",))
    telling = Told(exchange, Action.OFF, "a1", "b1")
    assert telling.targets() == {}
    telling.begin()
    assert telling.lines[1:] == [
        ("a1", "the role half may not switch off a port 1"),
        ("b1", "there is no alias or node 'b1'"),
        ["a1", "b1"],
    ]
    assert [*Told(exchange, Action.ON, "a1").targets()] == ["a1"]


def test_names_on_the_device_are_ports_or_it_is_told_why_not(lab: Lab) -> None:
    telling = Told(Exchange(lab), Action.ON, "x", "y")
    targets = {"x": lab.target("a"), "y": Target("y", (Outlet("a", "name:router"),))}
    assert [*telling.resolved(targets)] == ["x"]
    telling.begin()
    assert (telling.lines[1][0] == "y" and "router" in telling.lines[1][1]) or "names" in telling.lines[1][1]


def test_who_only_looks_needs_not_know_what_is_locked_by_its_name(lab: Lab) -> None:
    config = lab.dispatcher.config
    lab.dispatcher.config = replace(config, locked={Outlet("a", "name:router"): ""})  # type: ignore[misc]
    targets = {"a1": lab.target("a")}
    assert [*Told(Exchange(lab), Action.STATUS, "a1").resolved(targets)] == ["a1"]
    assert not Told(Exchange(lab), Action.ON, "a1").resolved(targets)


def test_a_command_is_told_of_node_by_node(lab: Lab) -> None:
    lab.hold("b", "3")
    told = switched(lab, Action.ON, "a1", "nobody", "b1")
    eventually(lambda: ("a1", "done") in told.lines)
    assert told.lines[0] == ("first", 1) and len(told.lines) == 3
    lab.let_go("b")
    eventually(lambda: told.lines[-1] == ["a1", "nobody", "b1"])
    record = lab.dispatcher.command(1)
    assert (record["action"], record["client"]) == ("on", "192.0.2.1:7")
    assert [node["name"] for node in record["nodes"]] == ["a1", "b1"] and lab.seen == {"a": "o", "b": "oo"}


def test_nodes_that_share_are_switched_once_and_each_is_told_of_its_own(lab: Lab) -> None:
    lab.refusing.add(("b", "on"))
    told = switched(lab, Action.ON, "a1", "both", "a1-again")
    eventually(lambda: told.lines[-1] == ["a1", "both", "a1-again"])
    assert {*told.lines[1:-1]} == {("a1", "done"), ("both", "b: refused"), ("a1-again", "done")}
    assert lab.seen == {"a": "o"} and len(lab.dispatcher.records(9)) == 1


def test_accepted_is_enough_for_who_does_not_wait(lab: Lab) -> None:
    lab.hold("a", "3")
    told = switched(lab, Action.OFF, "a1", "b1", wait=0, delay=3600.0)
    assert told.lines == [("first", 1), ("a1", "done"), ("b1", "done"), ["a1", "b1"]]
    assert not told.exchange.late
    records = lab.dispatcher.records(2)
    assert [record["delay"] for record in records] == [3600.0, 3600.0]
    for record in records:
        lab.dispatcher.cancel(record["id"])


def test_who_has_waited_long_enough_is_told_how_it_stands(lab: Lab) -> None:
    lab.hold("a", "3")
    told = switched(lab, Action.OFF, "a1", "b1", seconds=2.5)
    eventually(lambda: ("b1", "done") in told.lines)
    ((seconds, late),) = told.exchange.late
    assert seconds == 2.5
    late()
    assert told.lines[-1] == ["a1", "b1"]
    assert told.lines[-2] == (
        "a1",
        "accepted as request 2, not done after 2.5 s: a: the device is busy; it goes on",
    )
    late()
    assert len(told.lines) == 4


def test_nothing_accepted_is_no_command(lab: Lab) -> None:
    told = switched(lab, Action.OFF, "a1", soft=5.0)
    assert told.lines[0] == ("first", None) and told.lines[1][1].startswith("soft: ")
    assert not lab.dispatcher.records(1)


def test_a_key_makes_it_one_command(lab: Lab) -> None:
    for _ in range(2):
        told = switched(lab, Action.OFF, "a1", key="k")
        eventually(lambda told=told: told.lines == [("first", 1), ("a1", "done"), ["a1"]])
    assert lab.seen == {"a": "f"}
    told = switched(lab, Action.ON, "a1", key="k")
    assert told.lines[1][1].startswith("the idempotency key 'k' is that of another command")


def test_the_end_is_told_once(tmp_path: Path) -> None:
    """Though two threads may find at the same time that there is nothing left to wait for."""
    exchange: Any = SimpleNamespace(dispatcher=SimpleNamespace(config=None), config=None, rights=EVERYTHING)
    telling = Told(exchange, Action.STATUS, "n")
    telling.entry("n", None)
    telling.begin(3)
    telling._end_if_whole()
    telling.begin(3)
    assert telling.lines.count(["n"]) == 1
