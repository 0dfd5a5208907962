# SPDX-License-Identifier: MIT
"""How events are told: of each kind what is of it, in words for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pdudaemon.config.model import Config
from pdudaemon.config.reader import load
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Event, Events, record
from pdudaemon.engine.outlets import Known
from pdudaemon.errors import DeviceTimeout
from pdudaemon.power import Action, Outlet, Phase, Request, Soft, State, Step, Target

A1 = Outlet("a", "1")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "conf").write_text('{"pdus": {"a": {"driver": "dummy"}}}')
    return load(str(tmp_path / "conf"))


@pytest.fixture
def events() -> Events:
    return Events(Clock())


def request(action: Action = Action.ON) -> Request:
    return Request(action, Target("a port 1", (A1, Outlet("a", "2"))), 0.0, "ann", 0.0, Phase.ON, id=7, names=("n",))


def newest(events: Events) -> Event:
    found, _ = events.since(events.last - 1)
    return found[-1]


def test_of_a_request_all_is_told(events: Events, config: Config) -> None:
    one = request()
    one.debts, one.command = {A1}, 3
    events.of_request(one, "ended", "failed", DeviceTimeout("no answer"))
    told = record(newest(events), config, 0.0)
    assert told.pop("time") > 0 and told.pop("id") == events.last
    assert told == {
        "kind": "ended", "request": 7, "action": "on", "target": "a port 1", "outlets": ["a:1", "a:2"], "nodes": ["n"],
        "client": "ann", "state": "failed", "reason": "no answer", "error": "device-timeout", "command": 3,
        "owed": ["a:1"],
    }  # fmt: skip


def test_numbers_go_up_by_one_whatever_is_published(events: Events) -> None:
    before, woken = events.last, list[int]()
    events.watch(lambda: woken.append(1)).take()
    events.of_request(request(), "accepted", "queued")
    assert (events.last, len(woken)) == (before + 1, 1), "who watches is woken"
    events.at_site("ended", outlets=(A1,), action="on", state="done", error=None, request="s/1")
    found, _ = events.since(before)
    assert [(each.id, each.kind) for each in found] == [(before + 1, "accepted"), (before + 2, "ended")]
    assert found[1].request == "s/1" and events.figures.requests == {("a", "on", "done"): 1}


def test_a_try_is_counted_and_a_wait_is_none(events: Events, config: Config) -> None:
    one = request(Action.REBOOT)
    step = Step(one, A1, Action.OFF, Action.OFF)
    events.of_request(one, "waiting", "waiting", None, step, due=1e12)
    assert events.figures.tries == {}
    assert record(newest(events), config, 0.0)["due"] == 1e12
    events.of_request(one, "tried", "running", None, step)
    assert events.figures.tries == {("a", "off", "done"): 1}
    told = record(newest(events), config, 0.0)
    assert (told["action"], told["outlets"]) == ("off", ["a:1"]) and "due" not in told


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action.ON, "staggered: to be switched on in 60 s"),
        (Action.OFF, "asked to shut down: 60 s are left"),
    ],
)
def test_what_waits_says_for_how_long(events: Events, config: Config, action: Action, words: str) -> None:
    event = Event(1, 1000.0, "waiting", 7, action.value, "x", (A1,), state="waiting", due=1060.0)
    assert record(event, config, 0.0)["reason"] == words
    late = record(event._replace(due=990.0), config, 0.0)["reason"]
    assert late == words.replace("60", "0")


@pytest.mark.parametrize(
    ("kind", "became", "reason"),
    [
        ("ended", {A1: "shut down by itself"}, "shut down by itself"),
        ("ended", {}, None),
        ("tried", {A1: "shut down by itself"}, None),
    ],
)
def test_what_became_of_a_machine_is_told_at_the_end(
    events: Events, config: Config, kind: str, became: dict[Outlet, str], reason: str | None
) -> None:
    one = request(Action.OFF)
    one.soft = Soft(60.0, became=became)
    events.of_request(one, kind, "done")
    told = record(newest(events), config, 0.0)
    assert (told["reason"], told["error"]) == (reason, None)


@pytest.mark.parametrize(("reason", "reachable"), [("", True), ("no answer", False), ("disabled", None)])
def test_how_a_pdu_is(events: Events, config: Config, reason: str, reachable: bool | None) -> None:
    events.pdu("a", "ready", reason, reachable)
    told = record(newest(events), config, 0.0)
    assert {key: told[key] for key in [*told][2:]} == {
        "kind": "pdu",
        "pdu": "a",
        "state": "ready",
        "reason": reason or None,
        "reachable": reachable,
    }


def test_what_else_there_is(events: Events, config: Config) -> None:
    events.reload()
    assert [*record(newest(events), config, 0.0)] == ["id", "time", "kind"]
    events.reload("site berlin can be asked")
    assert record(newest(events), config, 0.0)["reason"] == "site berlin can be asked"
    events.outlet(A1, Known(State.ON, "device", 90.0))
    told = record(newest(events), config, 100.0)
    assert (told["kind"], told["outlet"]["port"], told["outlet"]["age"]) == ("outlet", "1", 10.0)


def pdus(events: Events, many: int) -> None:
    for number in range(many):
        events.pdu(str(number), "ready", "", None)


@pytest.mark.parametrize("after", [lambda last: last - 100, lambda last: last + 100])
def test_who_comes_with_a_number_of_another_run_goes_on_from_here(events: Events, after: Callable[[int], int]) -> None:
    begun = events.last
    watch = events.watch(lambda: None, after(events.last))
    assert watch.take() == ([], True) and watch.position == begun
    assert watch.take() == ([], False)
    pdus(events, 2)
    found, missed = watch.take()
    assert [event.pdu for event in found] == ["0", "1"] and not missed


def test_one_that_is_missing_is_missed() -> None:
    events = Events(Clock(), room=3)
    begun = events.last
    pdus(events, 3)
    assert [event.pdu for event in events.since(begun)[0]] == ["0", "1", "2"] and not events.since(begun)[1]
    pdus(events, 1)
    found, missed = events.since(begun)
    assert [event.pdu for event in found] == ["1", "2", "0"] and missed
    assert events.since(begun + 1) == (found, False)
    assert events.since(events.last + 1)[1] and not events.since(events.last)[1]
