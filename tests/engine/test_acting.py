# SPDX-License-Identifier: MIT
"""`Acting`: an action that does not come back makes its PDUs stuck, in its own time, until it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdudaemon.engine import acting
from pdudaemon.errors import Busy, DeviceTimeout
from pdudaemon.power import Action
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted


def test_a_stuck_action_is_noticed_by_its_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by that of an earlier action of the same device, which had more time."""
    monkeypatch.setattr(acting, "STUCK_GRACE", 0.2)
    shared = {"lock": "device"}
    rack = Rack(tmp_path, {"slow": {**shared, "timeout": 3000}, "quick": {**shared, "timeout": 0.3}})
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
    monkeypatch.setattr(acting, "STUCK_GRACE", 0.2)
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
    assert len(rack.dispatcher._timetable._heap) < 150 and not rack.dispatcher._acting.devices
    rack.stop()


def test_one_that_is_stuck_takes_nothing_new_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told; what was accepted goes on when the device does, and what is asked then as well."""
    monkeypatch.setattr(acting, "STUCK_GRACE", 0.2)
    rack = Rack(tmp_path, {"pdu": {"timeout": 0.3}, "other": {}})
    rack.hold("pdu")
    waiting = submitted(rack.dispatcher, Action.OFF, rack.target("pdu"))
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
