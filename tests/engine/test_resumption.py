# SPDX-License-Identifier: MIT
"""`Resumption`: what is late, what is kept, and what the clocks have to do with it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import RequestError, StoreError
from pdudaemon.power import Action, Outlet, Phase, State, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

HOUR = 3600.0


def test_the_debt_for_a_disabled_pdu_waits_until_it_can_be_paid(
    rack: Callable[..., Rack], caplog: pytest.LogCaptureFixture
) -> None:
    """Though the other feed of the node goes on."""
    one = rack("a", "b")
    first = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), HOUR)
    eventually(lambda: one.seen == {"a": "f", "b": "f"} and first.phase is Phase.ON)
    one.stop()
    one.clock.pass_by(HOUR)
    one.pdus["a"]["retries"] = "many"
    one.start()
    eventually(lambda: one.state(first.id) == "failed")
    assert one.seen == {"a": "f", "b": "fo"}
    assert "MAY BE OFF" not in caplog.text
    (owed,) = one.stop()
    assert "a port 1 is to be switched on when a is not disabled any more" in owed
    one.start()
    heir = one.dispatcher.records(1)[0]
    assert (heir["action"], heir["target"], heir["delay"], heir["owed"]) == (
        "on", "a port 1", 0.0, [{"pdu": "a", "port": "1"}]
    )  # fmt: skip
    one.pdus["a"]["retries"] = 1
    one.dispatcher.reload(one.config())
    eventually(lambda: one.seen["a"] == "fo")
    eventually(lambda: one.state(heir["id"]) == "done")
    one.dispatcher.reload(one.config())
    assert one.dispatcher.live_figures().unended == 0 and one.seen["a"] == "fo", "it is done with"


def test_a_debt_for_a_disabled_pdu_that_cannot_be_written_down_is_said_loudly(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = rack("a", "b")
    first = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), HOUR)
    eventually(lambda: first.phase is Phase.ON)
    one.stop()
    one.pdus["a"]["retries"] = "many"

    def add_all(*_: object) -> None:
        raise StoreError("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "add_all", add_all)
        one.start()
    assert f"request {first.id}: reboot a+b: no disk" in caplog.text
    assert f"request {first.id}: reboot a+b: a port 1 MAY BE OFF: " in caplog.text
    assert one.dispatcher.live_figures().owed == {"b": 1}


@pytest.mark.parametrize("wall", [-10 * HOUR, 0, 10 * HOUR])
@pytest.mark.parametrize(("passed", "boot", "expires"), [(HOUR, "first", True), (60, "first", False)])
def test_how_late_it_is_does_not_depend_on_the_wall_clock(
    rack: Callable[..., Rack], wall: float, passed: float, boot: str, expires: bool
) -> None:
    one = rack("a", "b")
    one.hold("a")
    off = submitted(one.dispatcher, Action.OFF, one.target("a"))
    one.stop()
    one.let_go("a")
    one.clock.pass_by(passed)
    one.clock.wall_off += wall
    one.start()
    eventually(lambda: one.state(off.id) == ("expired" if expires else "done"))
    assert ("f" in one.seen["a"]) is not expires


@pytest.mark.parametrize(("wall", "expires"), [(-HOUR, True), (60, False), (HOUR, True)])
def test_after_another_start_of_the_machine_the_wall_clock_is_asked(
    rack: Callable[..., Rack], wall: float, expires: bool
) -> None:
    """If that is behind what is on record nobody knows how late it is, and an old off may be very old."""
    one = rack("a")
    one.hold("a")
    off = submitted(one.dispatcher, Action.OFF, one.target("a"))
    one.stop()
    one.let_go("a")
    one.clock.boot, one.clock.uptime_off = "second", -one.clock.uptime()
    one.clock.wall_off += wall
    one.start()
    eventually(lambda: one.state(off.id) == ("expired" if expires else "done"))
    assert ("f" in one.seen["a"]) is not expires


def test_a_clock_that_is_behind_some_later_request_is_not_believed(rack: Callable[..., Rack]) -> None:
    """Not if it is ahead of the off itself either."""
    one = rack("a", "b")
    one.hold("a")
    off = submitted(one.dispatcher, Action.OFF, one.target("a"))
    one.clock.pass_by(2 * HOUR)
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target("b")), 30)
    one.stop()
    one.let_go("a")
    one.clock.boot = "second"
    one.clock.wall_off -= 2 * HOUR - 60
    one.start()
    eventually(lambda: one.state(off.id) == "expired")


@pytest.mark.parametrize("wall", [-10 * HOUR, 10 * HOUR])
@pytest.mark.parametrize("boot", ["first", "second"])
def test_a_debt_is_paid_in_time_whatever_the_clock_says(rack: Callable[..., Rack], wall: float, boot: str) -> None:
    one = rack("a")
    submitted(one.dispatcher, Action.REBOOT, one.target("a"), 4)
    eventually(lambda: one.seen["a"] == "f" and one.dispatcher._lanes.owed()[0].count(" in "))
    one.clock.boot, one.clock.wall_off = boot, wall
    one.restart()
    eventually(lambda: one.state(1) == "done")
    assert one.seen["a"] == "fo"


def test_a_clock_that_is_set_while_a_delay_runs_changes_nothing(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    early = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    one.clock.wall_off = 2 * HOUR
    one.let_go("a")
    eventually(lambda: one.state(early.id) == "waiting")
    assert early.steps[0].at - time.monotonic() > HOUR / 2
    one.dispatcher.cancel(early.id)


def test_who_only_pays_a_debt_does_so_at_once(rack: Callable[..., Rack]) -> None:
    """When the off ended nobody knows: the delay would be counted from then."""
    one = rack("a", resume_age=600)
    one.hold("a", "2")
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), HOUR)
    one.let_go("a")
    eventually(lambda: reboot.phase is Phase.ON)
    one.stop()
    with closing(sqlite3.connect(one.store)) as store:
        store.execute("UPDATE request SET off_ended = NULL, off_ended_uptime = NULL WHERE id = ?", (reboot.id,))
        store.commit()
    one.start()
    eventually(lambda: one.state(reboot.id) == "done")
    assert one.seen["a"] == "ofo"


def test_what_a_reload_takes_away_of_several_feeds_does_not_end_the_rest(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b", settings={"outlets": 4})
    node = Target("node", (Outlet("a", "4"), Outlet("b", "1")))
    one.hold("b", "2")
    request = submitted(one.dispatcher, Action.OFF, node)
    eventually(lambda: one.seen["a"] == "f")
    later = submitted(one.dispatcher, Action.ON, node)
    one.pdus["a"]["outlets"] = 2
    one.dispatcher.reload(one.config())
    one.let_go("b")
    with pytest.raises(RequestError, match="this PDU has 1 to 2"):
        awaited(one.dispatcher, later, 30)
    assert awaited(one.dispatcher, request, 30)
    assert one.seen == {"a": "f", "b": "ofo"}
    assert later.results == {Outlet("a", "4"): later.error, Outlet("b", "1"): None}


def test_a_request_that_is_kept_waits_for_its_turn_when_it_can_be(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    requests = [submitted(one.dispatcher, action, one.target("a")) for action in (Action.OFF, Action.ON, Action.OFF)]

    def let_go() -> None:
        eventually(lambda: dispatcher._closed)
        one.let_go("a")

    dispatcher = one.dispatcher
    letting = threading.Thread(target=let_go)
    letting.start()
    one.stop()
    letting.join()
    one.pdus["a"]["retries"] = "many"
    one.start()
    assert [one.state(request.id) for request in requests] == ["accepted"] * 3 and not one.dispatcher._lanes.live
    assert one.dispatcher.summary() == "0 PDUs, 0 requests not ended"
    del one.pdus["a"]["retries"]
    one.dispatcher.reload(one.config())
    eventually(lambda: [one.state(request.id) for request in requests] == ["done"] * 3)
    assert one.seen["a"] == "oofof", "the first had not ended when the daemon did"


@pytest.mark.parametrize("expires", [True, False])
def test_what_was_under_way_leaves_nobody_sure_of_the_outlet(rack: Callable[..., Rack], expires: bool) -> None:
    """An off may have been done when the daemon was killed, and is not done again if it is late."""
    one = rack("a", "b", "c", "d")
    for name in ("a", "b", "c", "d"):
        assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target(name)), 30)
    one.held["a"] = threading.Event()
    one.begun["a"].clear()
    offs = [submitted(one.dispatcher, Action.OFF, one.target("a")) for _ in range(2)]
    submitted(one.dispatcher, Action.OFF, one.target("b"), 10 * HOUR)  # which has not begun for sure
    submitted(one.dispatcher, Action.ON, one.target("c"), 0.5)  # and which changes nothing
    assert one.begun["a"].wait(30)
    one.stop()
    one.clock.pass_by(HOUR if expires else 1)
    one.let_go("a")
    one.refusing = {("a", "off"), ("c", "on")}
    one.start()
    eventually(lambda: [one.state(each.id) for each in offs] == ["expired" if expires else "failed"] * 2)
    found = {name: one.dispatcher.inventory.outlet(Outlet(name, "1")).state for name in ("a", "b", "d")}
    assert found == {"a": State.UNKNOWN, "b": State.ON, "d": State.ON}
    assert expires is bool("switched before that: a port 1 unknown" in one.dispatcher.record(offs[0].id)["reason"])
    assert "switched" not in one.dispatcher.record(offs[1].id)["reason"]
    one.refusing.clear()
    one.restart()  # and it is on record
    assert one.dispatcher.inventory.outlet(Outlet("a", "1")).state is State.UNKNOWN
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.OFF, one.target("a")), 30)
    assert one.dispatcher.inventory.outlet(Outlet("a", "1")).state is State.OFF


@pytest.mark.parametrize("gone", [True, False])
def test_what_was_under_way_leaves_nobody_sure_of_an_outlet_that_was_not_there_meanwhile(
    rack: Callable[..., Rack], gone: bool
) -> None:
    """Since its PDU was taken out of the configuration, or disabled."""
    one = rack("a", "b")
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target("a", "b")), 30)
    for name in ("a", "b"):
        one.held[name] = threading.Event()
        one.begun[name].clear()
    off = submitted(one.dispatcher, Action.OFF, one.target("a", "b") if gone else one.target("a"))
    assert one.begun["a"].wait(30)
    one.stop()
    one.clock.pass_by(HOUR)
    for name in ("a", "b"):
        one.let_go(name)
    before = one.pdus["a"]
    if gone:
        del one.pdus["a"]
    else:
        one.pdus["a"] = {**before, "retries": "many"}
    one.start()
    one.pdus["a"] = before
    one.dispatcher.reload(one.config())
    eventually(lambda: one.dispatcher.record(off.id)["ended"])
    one.restart()
    assert one.dispatcher.inventory.outlet(Outlet("a", "1")).state is State.UNKNOWN


@pytest.mark.parametrize(("passed", "state"), [(0, State.OFF), (HOUR, State.UNKNOWN)])
def test_a_board_whose_on_may_have_been_done_is_not_said_to_be_off(
    rack: Callable[..., Rack], passed: float, state: State
) -> None:
    one = rack("a")
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), 60)
    eventually(lambda: one.seen["a"] == "f" and one.dispatcher.record(reboot.id)["switched"])
    one.stop()
    one.clock.pass_by(passed)
    one.refusing.add(("a", "on"))
    one.start()
    assert one.dispatcher.inventory.outlet(Outlet("a", "1")).state is state
    one.refusing.clear()
