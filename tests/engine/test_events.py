# SPDX-License-Identifier: MIT
"""`Events`: numbers, what is kept and what is missed, who is woken; and what of a request comes out of a dispatcher."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pdudaemon.config.nodes import Node
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Event, Events, record
from pdudaemon.engine.outlets import Found, Known
from pdudaemon.errors import TransientError
from pdudaemon.power import Action, Outlet, State
from tests.support.rack import Rack, awaited, submitted


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    one = Rack(tmp_path, {"a": {"retries": 2, "retrydelay": 0}, "b": {}})
    yield one
    one.stop()


def names(events: list[Event]) -> list[str]:
    return [event.pdu for event in events]


def publish(events: Events, *pdus: str) -> None:
    for pdu in pdus:
        events.pdu(pdu, "ready", "", None)


def test_since_returns_what_came_behind_a_number() -> None:
    events = Events(Clock(), room=10)
    before = events.last
    publish(events, "a", "b", "c")
    found, missed = events.since(before)
    assert names(found) == ["a", "b", "c"] and not missed
    assert [event.id for event in found] == [before + 1, before + 2, before + 3]
    assert names(events.since(found[0].id)[0]) == ["b", "c"]
    assert names(events.since(before, most=2)[0]) == ["a", "b"]
    assert events.since(events.last) == ([], False)


def test_who_reads_too_slowly_is_told_that_something_is_missing() -> None:
    events = Events(Clock(), room=4)
    before = events.last
    publish(events, *"abcdef")
    found, missed = events.since(before)
    assert names(found) == [*"cdef"] and missed
    assert names(events.since(found[0].id - 1)[0]) == [*"cdef"]
    assert not events.since(found[0].id - 1)[1]


@pytest.mark.parametrize("number", [0, -5, 10**15])
def test_a_number_of_another_run(number: int) -> None:
    events = Events(Clock(), room=4)
    publish(events, "a")
    found, missed = events.since(number)
    assert names(found) == ["a"] and missed


def test_numbers_of_a_later_run_are_higher() -> None:
    first = Events(Clock())
    publish(first, "a")
    time.sleep(0.01)
    assert Events(Clock()).last > first.last


def test_a_watch_is_woken_once_until_it_has_taken() -> None:
    events = Events(Clock(), room=4)
    woken: list[int] = []
    watch = events.watch(lambda: woken.append(1))
    assert watch.take() == ([], False)
    publish(events, "a", "b")
    assert len(woken) == 1
    assert names(watch.take()[0]) == ["a", "b"]
    publish(events, "c")
    assert len(woken) == 2
    publish(events, *"defgh")
    found, missed = watch.take(2)
    assert names(found) == ["e", "f"] and missed
    found, missed = watch.take(2)
    assert names(found) == ["g", "h"] and not missed
    assert watch.take() == ([], False)
    watch.close()
    publish(events, "i")
    assert len(woken) == 2


def test_no_event_is_lost_or_told_twice_to_one_who_keeps_up() -> None:
    events = Events(Clock())
    ready = threading.Event()
    watch = events.watch(ready.set)
    publishers = [threading.Thread(target=publish, args=(events, *(str(n) for n in range(500)))) for _ in range(4)]
    for each in publishers:
        each.start()
    seen: list[int] = []
    while len(seen) < 2000:
        assert ready.wait(60)
        ready.clear()
        while found := watch.take()[0]:
            seen += [event.id for event in found]
    assert seen == [*range(seen[0], seen[0] + 2000)]


def test_a_request_from_its_acceptance_to_its_end(rack: Rack) -> None:
    config = replace(rack.config(), nodes={"board": Node("board", (Outlet("a", "1"),))})
    rack.dispatcher.reload(config)
    rack.refusing.add(("a", "off"))
    before = rack.dispatcher.events.last
    request = submitted(
        rack.dispatcher,
        Action.OFF,
        rack.dispatcher.config.target("a", "1"),
        client="me",
    )
    with pytest.raises(TransientError):
        awaited(rack.dispatcher, request, 60)
    told = [record(event, config, time.time()) for event in rack.dispatcher.events.since(before)[0]]
    told = [event for event in told if "request" in event]
    assert [event["kind"] for event in told] == [
        "accepted",
        "begun",
        "tried",
        "tried",
        "ended",
    ]
    assert [event["state"] for event in told] == [
        "queued",
        "running",
        "running",
        "running",
        "failed",
    ]
    assert [event["reason"] for event in told] == [
        None,
        None,
        "a: refused",
        "a: refused",
        "a: refused",
    ]
    for event in told:
        assert event["request"] == request.id and event["action"] == "off" and event["target"] == "a port 1"
        assert event["outlets"] == ["a:1"] and event["nodes"] == ["board"] and event["client"] == "me"
        assert json.loads(json.dumps(event)) == event


def test_the_node_of_an_outlet_that_it_spells_by_its_name(rack: Rack) -> None:
    config = replace(rack.config(), nodes={"board": Node("board", (Outlet("a", "name:router"),))})
    rack.dispatcher.reload(config)
    rack.dispatcher.inventory.surveyed(
        "a", rack.dispatcher.inventory.pdu("a"), Found([OutletReading("1", "router")], [])
    )
    before = rack.dispatcher.events.last
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, config.target("a", "1")), 60)
    told = [record(event, config, time.time()) for event in rack.dispatcher.events.since(before)[0]]
    assert [event["nodes"] for event in told if "request" in event] == [["board"]] * 4
    assert [event["outlet"]["nodes"] for event in told if "outlet" in event] == [["board"]]


def test_each_half_of_a_reboot_is_a_try(rack: Rack) -> None:
    before = rack.dispatcher.events.last
    request = submitted(rack.dispatcher, Action.REBOOT, rack.target("b", "a"))
    assert awaited(rack.dispatcher, request, 60)
    found = [event for event in rack.dispatcher.events.since(before)[0] if event.request]
    tries = [(event.action, event.outlets[0].pdu) for event in found if event.kind == "tried"]
    assert sorted(tries[:2]) == [("off", "a"), ("off", "b")] and tries[2:] == [
        ("on", "b"),
        ("on", "a"),
    ]
    assert [event.kind for event in found if event.kind != "tried"] == [
        "accepted",
        "begun",
        "ended",
    ]


def test_what_a_reboot_owes_is_told_as_long_as_it_owes_it(rack: Rack) -> None:
    before = rack.dispatcher.events.last
    request = submitted(rack.dispatcher, Action.REBOOT, rack.target("a"))
    assert awaited(rack.dispatcher, request, 60)
    told = [record(event, rack.config(), time.time()) for event in rack.dispatcher.events.since(before)[0]]
    owed = {(event["kind"], event["action"]): event["owed"] for event in told if "request" in event}
    assert owed["accepted", "reboot"] == owed["ended", "reboot"] == []
    assert owed["tried", "off"] == ["a:1"]
    assert rack.dispatcher.record(request.id)["owed"] == []


def test_a_reload_is_told(rack: Rack) -> None:
    before = rack.dispatcher.events.last
    rack.dispatcher.reload(rack.config())
    assert "reload" in [event.kind for event in rack.dispatcher.events.since(before)[0]]


def test_an_outlet_is_told_as_it_was_known_then(rack: Rack) -> None:
    events = Events(Clock())
    before = events.last
    events.outlet(
        Outlet("a", "1"),
        Known(State.ON, "device", 1000.0, "router", watts=0.0, read=990.0),
    )
    (event,) = events.since(before)[0]
    told = record(event, rack.dispatcher.config, 1010.0)["outlet"]
    assert told == {
        "pdu": "a",
        "port": "1",
        "name": "router",
        "nodes": [],
        "locked": False,
        "reason": None,
        "state": "on",
        "source": "device",
        "time": 1000.0,
        "age": 10.0,
        "watts": 0.0,
        "volts": None,
        "amps": None,
        "watt_hours": None,
        "readings_age": 20.0,
    }
