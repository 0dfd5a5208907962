# SPDX-License-Identifier: MIT
"""`LiveRecords`: what the store has, with what only live requests know."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.engine import records
from pdudaemon.engine.storage.storesearch import EVERYTHING, Search
from pdudaemon.errors import NoSuchRequest
from pdudaemon.power import Action, Command, Outcome, Request, Submission
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted


def test_a_request_is_queued_then_running_then_done(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    later = submitted(one.dispatcher, Action.OFF, one.target("a"))
    running, queued = one.dispatcher.records(2)[::-1]
    assert (running["state"], queued["state"]) == ("running", "queued")
    one.let_go("a")
    assert awaited(one.dispatcher, later, 30)
    assert [record["state"] for record in one.dispatcher.records(2)] == ["done", "done"]


def test_one_that_waits_says_why(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    reboot = owing(one, "a")
    record = one.dispatcher.record(reboot.id)
    assert record["state"] == "waiting" and "the port may be off, on is tried again" in record["reason"]
    delayed = submitted(one.dispatcher, Action.OFF, one.dispatcher.config.target("a", "2"), 3600)
    record = one.dispatcher.record(delayed.id)
    assert (record["state"], record["reason"]) == ("waiting", None)
    with pytest.raises(NoSuchRequest):
        one.dispatcher.record(delayed.id + 1)


def test_one_that_goes_on_tells_what_has_failed_of_it_so_far(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.refusing.add(("a", "on"))
    one.held["b"] = threading.Event()
    node = submitted(one.dispatcher, Action.ON, one.target("a", "b"))
    assert one.begun["b"].wait(30)
    record = one.dispatcher.record(node.id)
    assert (record["state"], record["reason"]) == ("running", "a: refused")
    one.let_go("b")


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_pdus_are_listed_in_their_order_a_part_at_a_time(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(records, "AT_ONCE", at_once)
    names = [f"pdu{number}" for number in (3, 1, 4, 15, 9, 2)]
    one = rack(*names)

    def listed(*words: Any, **more: Any) -> list[str]:
        return [record["name"] for record in one.dispatcher.snapshot(*words, **more)]

    assert listed() == names
    assert listed("pdu4") == names[3:] and listed("pdu4", 2) == names[3:5] and listed("", 0) == []
    assert listed("nobody") == names and listed("pdu2") == []
    assert listed("pdu3", 2, lambda name: name not in ("pdu3", "pdu1")) == ["pdu4", "pdu15"]
    assert listed("pdu9", None, lambda name: name != "pdu9") == ["pdu3", "pdu1", "pdu4", "pdu15", "pdu2"]
    every = one.dispatcher.each_pdu()
    assert next(every)["name"] == "pdu3"
    for name in names[1:]:
        del one.pdus[name]
    one.dispatcher.reload(one.config())
    assert len([*every]) == min(at_once, len(names)) - 1, "those that were taken with the first"


def test_how_a_pdu_is(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.pdus["b"]["retries"] = "many"
    one.dispatcher.reload(one.config())
    one.hold("a")
    ready, disabled = one.dispatcher.snapshot()
    assert (ready["state"], ready["requests"], ready["reason"], ready["driver"]) == ("ready", 1, None, "dummy")
    assert disabled["state"] == "disabled" and "retries" in disabled["reason"]
    del one.pdus["a"]
    one.dispatcher.reload(one.config())
    assert [record["state"] for record in one.dispatcher.snapshot()] == ["leaving", "disabled"]
    one.let_go("a")
    eventually(lambda: [record["name"] for record in one.dispatcher.snapshot()] == ["b"])


def test_a_command_is_all_of_its_requests(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.hold("b")
    command = Command(Action.OFF, "me", 1.0, ("n1", "n2", "n3"))
    wanted = [
        Submission(Action.OFF, one.target("a"), names=("n1", "n3")),
        Submission(Action.OFF, one.target("b"), names=("n2",)),
    ]
    first, second = one.dispatcher.submit(wanted, command)
    assert isinstance(first, Request) and isinstance(second, Request) and awaited(one.dispatcher, first, 30)

    def told() -> tuple[str, list[tuple[str, int, str]]]:
        record = one.dispatcher.command(command.id)
        return record["state"], [(node["name"], node["request"], node["state"]) for node in record["nodes"]]

    assert told() == ("running", [("n1", first.id, "done"), ("n2", second.id, "queued"), ("n3", first.id, "done")])
    one.let_go("b")
    assert awaited(one.dispatcher, second, 30)
    eventually(lambda: told()[0] == "ended")
    assert told()[1][1] == ("n2", second.id, Outcome.DONE)


def test_a_command_is_shown_with_all_that_is_known_of_it(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.refusing.add(("b", "off"))
    command = Command(Action.OFF, "me", 17.0, ("n1", "n2", "refused"))
    wanted = [Submission(Action.OFF, one.target(pdu), names=(name,)) for pdu, name in (("a", "n1"), ("b", "n2"))]
    one.dispatcher.submit(wanted, command)
    found = eventually(lambda: (told := one.dispatcher.command(command.id))["state"] == "ended" and told)
    assert (found["id"], found["action"], found["client"], found["accepted"]) == (command.id, "off", "me", 17.0)
    assert [(node["name"], node["state"], node["reason"]) for node in found["nodes"]] == [
        ("n1", "done", None),
        ("n2", "failed", "b: refused"),
    ]
    assert all(node["ended"] is not None for node in found["nodes"])


def test_figures_of_what_has_not_ended(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    assert one.dispatcher.live_figures() == (0, None, {})
    owing(one, "a", "b")
    eventually(lambda: one.seen["b"] == "fo")
    eventually(lambda: one.dispatcher.live_figures().owed == {"a": 1})
    first = one.dispatcher.live_figures().oldest
    submitted(one.dispatcher, Action.OFF, one.target("b"), 3600)
    assert one.dispatcher.live_figures().unended == 2 and one.dispatcher.live_figures().oldest == first
    one.stop()
    one.pdus["a"]["retries"] = "many"
    one.start()
    eventually(lambda: one.dispatcher.live_figures() == (2, first, {"a": 1}))


def test_when_one_is_due_and_why_it_waits(rack: Callable[..., Rack]) -> None:
    """An on after others says so until it is over, or acts."""
    one = rack("a", settings={"stagger": 3600})
    ports = [one.dispatcher.config.target("a", str(port)) for port in (1, 2)]
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, ports[0]), 30)
    later = submitted(one.dispatcher, Action.ON, ports[1])
    record = one.dispatcher.record(later.id)
    assert record["state"] == "waiting" and record["reason"].startswith("staggered: to be switched on in 3")
    assert 3500 < record["due"] - one.clock.wall() <= 3600
    (step,) = later.steps
    step.at -= 7200  # it is time, and the PDU busy
    record = one.dispatcher.record(later.id)
    assert (record["reason"], record["due"]) == (None, None)
    one.dispatcher.cancel(later.id)
    off = submitted(one.dispatcher, Action.OFF, ports[0], 3600)
    assert (one.dispatcher.record(off.id)["reason"], one.dispatcher.record(off.id)["due"]) == (None, None)


def test_those_alone_that_may_be_seen_are_listed_and_so_many(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    for name in "abab":
        assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target(name)), 30)

    def listed(most: int, *words: Any) -> list[int]:
        return [record["id"] for record in one.dispatcher.records(most, *words)]

    assert listed(10) == [4, 3, 2, 1] and listed(3) == [4, 3, 2] and listed(0) == []
    assert listed(2, EVERYTHING, lambda record: record["target"] == "a") == [3, 1]
    one.hold("a")
    assert listed(9, Search(states=frozenset({"running"}))) == [5]
    assert listed(9, Search(states=frozenset({"waiting"}))) == []
    assert listed(2, Search(states=frozenset({"done"}))) == [4, 3]
    one.let_go("a")
