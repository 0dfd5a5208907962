# SPDX-License-Identifier: MIT
"""`Dispatcher`: an action that does not come back makes its PDUs stuck, in its own time, until it does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pdudaemon.engine import dispatcher
from pdudaemon.engine.queries import Look
from pdudaemon.errors import Busy, DeviceTimeout
from pdudaemon.power import Action, Outlet, Submission
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted


def test_a_stuck_action_is_noticed_by_its_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by that of an earlier action of the same device, which had more time."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.2)
    shared = {"lock": "device"}
    rack = Rack(tmp_path, {"slow": {**shared, "timeout": 3000}, "quick": {**shared, "timeout": 3}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("slow")), 30)
    rack.hold("quick")
    request = submitted(rack.dispatcher, Action.ON, rack.target("slow"))
    with pytest.raises(DeviceTimeout, match="slow: stuck: no answer") as told:
        awaited(rack.dispatcher, request, 60)
    assert "quick" not in str(told.value)
    rack.let_go("quick")
    eventually(lambda: [pdu["state"] for pdu in rack.dispatcher.snapshot()] == ["ready", "ready"])
    rack.stop()


def test_a_reload_that_lowers_the_time_out_counts_from_the_next_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.2)
    rack = Rack(tmp_path, {"pdu": {"timeout": 3000}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30)
    rack.pdus["pdu"]["timeout"] = 0.3
    rack.dispatcher.reload(rack.config())
    rack.hold("pdu")
    eventually(lambda: rack.dispatcher.snapshot()[0]["state"] == "stuck")
    rack.let_go("pdu")
    rack.stop()


def test_actions_leave_nothing_in_the_timetable(tmp_path: Path) -> None:
    rack = Rack(tmp_path, {"pdu": {}})
    for _ in range(300):
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30)
    assert len(rack.dispatcher._timetable._heap) < 150 and not rack.dispatcher._acting
    rack.stop()


def test_one_that_is_stuck_takes_nothing_new_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told; what was accepted goes on when the device does, and what is asked then as well."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.2)
    rack = Rack(tmp_path, {"pdu": {"timeout": 0.3}, "other": {}})
    (waiting,) = rack.hold("pdu", "1", Submission(Action.OFF, rack.target("pdu")))
    with pytest.raises(DeviceTimeout, match="pdu: stuck: no answer, and it is not known whether the device acted"):
        awaited(rack.dispatcher, waiting, 60)
    with pytest.raises(Busy, match="pdu: stuck: an action has not come back"):
        submitted(rack.dispatcher, Action.ON, rack.target("pdu"))
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("other")), 30)
    told = [(event.pdu, event.state) for event in rack.dispatcher.events.since(0)[0] if event.kind == "pdu"]
    assert ("pdu", "stuck") in told
    rack.let_go("pdu")
    eventually(lambda: waiting.ended)
    assert rack.seen["pdu"] == "of" and awaited(
        rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30
    )
    told = [(event.pdu, event.state) for event in rack.dispatcher.events.since(0)[0] if event.kind == "pdu"]
    assert told[-1] == ("pdu", "ready")
    rack.stop()


def told(rack: Rack) -> list[tuple[str, str, str, bool | None]]:
    """Return what was told of PDUs."""
    events = rack.dispatcher.events.since(0)[0]
    return [(event.pdu, event.state, event.reason, event.reachable) for event in events if event.kind == "pdu"]


def test_all_pdus_that_are_a_stuck_device_are_told_of_each_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for one may not see the others: requests, questions and readings alike."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.0)
    shared = {"lock": "device", "timeout": 3}  # long enough to ask all that is asked before it is stuck
    rack = Rack(tmp_path, {"left": shared, "right": shared, "other": {}})
    rack.hold("left")
    heard: dict[str, str] = {}
    for name in ("right", "other"):
        look = Look([Outlet(name, "1")], lambda answer, name=name: heard.setdefault(f"look {name}", str(answer)))
        rack.dispatcher.ask([look])
    rack.dispatcher.surveys.ask("right", lambda error: heard.setdefault("read right", str(error)))
    waiting = submitted(rack.dispatcher, Action.OFF, rack.target("right"))
    with pytest.raises(DeviceTimeout) as trouble:
        awaited(rack.dispatcher, waiting, 30)
    stuck = "right: stuck: no answer, and it is not known whether the device acted"
    assert str(trouble.value) == stuck and not waiting.ended
    eventually(lambda: heard.get("look right") == heard.get("read right") == stuck)
    eventually(lambda: "look other" in heard)
    assert "stuck" not in heard["look other"]
    assert "left, right: stuck: an action has not come back from the device" in caplog.messages
    eventually(lambda: len([each for each in told(rack) if each[1] == "stuck"]) == 2)
    reason = "an action has not come back from the device"
    assert {each[:3] for each in told(rack) if each[1] == "stuck"} == {
        ("left", "stuck", reason),
        ("right", "stuck", reason),
    }
    assert rack.dispatcher.summary().endswith("stuck: left, right")
    with pytest.raises(DeviceTimeout, match="right: stuck: an action has not come back from the device"):
        rack.dispatcher.look(rack.target("right"), 5)
    rack.let_go("left")
    eventually(lambda: waiting.ended)
    assert "left, right: the device came back, the PDU is not stuck any more" in caplog.messages
    assert {each[:3] for each in told(rack)[-4:] if not each[2]} == {("left", "ready", ""), ("right", "ready", "")}
    assert all(runner.device.stuck == "" for runner in rack.dispatcher._fleet.runners.values())
    rack.stop()


def test_an_action_that_comes_back_in_time_is_not_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is looked at nothing acts, or something that began later, which has its own time."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.1)
    rack = Rack(tmp_path, {"pdu": {"timeout": 3}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30)
    device = rack.dispatcher._fleet.runners["pdu"].device
    first = device.looked_at
    assert device.due == first and not rack.dispatcher._acting
    eventually(lambda: device.looked_at == float("inf"))
    assert not device.stuck and not [each for each in told(rack) if each[1] == "stuck"]
    rack.pdus["pdu"]["timeout"] = 3000
    rack.dispatcher.reload(rack.config())
    rack.hold("pdu")
    assert rack.dispatcher._acting == {device} and device.looked_at == device.due > first + 1000
    assert rack.dispatcher.snapshot()[0]["state"] == "ready"
    rack.let_go("pdu")
    rack.stop()


def test_one_that_answered_before_is_told_of_when_it_is_stuck_and_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though whether it answers is as it was."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.1)
    rack = Rack(tmp_path, {"pdu": {"timeout": 0.2}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30)
    begun = len(told(rack))
    rack.hold("pdu")
    eventually(lambda: len(told(rack)) == begun + 1)
    rack.let_go("pdu")
    eventually(lambda: len(told(rack)) == begun + 2)
    stuck, back = told(rack)[begun:]
    assert stuck == ("pdu", "stuck", "an action has not come back from the device", True)
    assert back == ("pdu", "ready", "", True)
    rack.stop()


def test_an_action_has_its_time_and_a_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 1000.0)
    rack = Rack(tmp_path, {"pdu": {"timeout": 500}})
    before = time.monotonic()
    rack.hold("pdu")
    device = rack.dispatcher._fleet.runners["pdu"].device
    assert before + 1500 <= device.due <= time.monotonic() + 1500
    rack.let_go("pdu")
    rack.stop()


def test_who_asks_for_a_reading_of_one_that_is_stuck_already_hears_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who asked before it was, at once, and not when it is back."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.1)
    rack = Rack(tmp_path, {"pdu": {"timeout": 3}})
    rack.hold("pdu")
    heard: list[str] = []
    rack.dispatcher.surveys.ask("pdu", lambda error: heard.append(str(error)))
    eventually(lambda: heard == ["pdu: stuck: no answer, and it is not known whether the device acted"])
    rack.let_go("pdu")
    rack.stop()


def test_one_that_does_not_come_back_after_others_that_have_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is not time yet when it is looked at as those would have been due."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.3)
    rack = Rack(tmp_path, {"pdu": {"timeout": 0.3}})
    begun = time.monotonic()
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30)
    eventually(lambda: time.monotonic() > begun + 0.2)
    rack.hold("pdu")
    eventually(lambda: rack.dispatcher.snapshot()[0]["state"] == "stuck")
    rack.let_go("pdu")
    rack.stop()
