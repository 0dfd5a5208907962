# SPDX-License-Identifier: MIT
"""`Lanes`: the debt of a reboot, whoever has it, and what the clocks have to do with it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import debts
from pdudaemon.engine.store import Store
from pdudaemon.errors import Conflict, PDUDaemonError, StoreError
from pdudaemon.power import Action, Phase, Request
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

HOUR = 3600.0


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Callable[..., Rack]]:
    """Return a function that makes a rack of some PDUs: ``rack("a", "b", **daemon_settings)``."""
    made: list[Rack] = []

    def make(*names: str, settings: Mapping[str, Any] | None = None, **daemon: Any) -> Rack:
        made.append(Rack(tmp_path, dict.fromkeys(names, settings or {}), **daemon))
        return made[-1]

    yield make
    for each in made:
        for event in each.held.values():
            event.set()
        each.stop()


def owing(rack: Rack, *pdus: str) -> Request:
    """Return a reboot whose off is done and whose on the first of its PDUs has refused."""
    rack.refusing.add((pdus[0], "on"))
    request = submitted(rack.dispatcher, Action.REBOOT, rack.target(*pdus), 0)
    with pytest.raises(PDUDaemonError, match="the port may be off, on is tried again"):
        awaited(rack.dispatcher, request, 30)
    return request


# -- the promise before an off


@pytest.mark.parametrize("failing", [("a", "b"), ("a",), ("b",)])
def test_no_feed_goes_off_before_the_disk_has_its_own_record(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...]
) -> None:
    """The feeds of a node act at a time, on PDUs of their own: each waits for the disk itself."""
    one = rack("a", "b")
    both_wait = threading.Barrier(2)
    in_sync: set[str] = set()

    def sync(_: Store) -> None:
        name = threading.current_thread().name.removeprefix("pdu ")
        in_sync.add(name)
        both_wait.wait(30)
        assert not one.seen  # nobody acts while somebody's record is not on the disk
        both_wait.wait(30)
        if name in failing:
            raise StoreError("no disk")

    monkeypatch.setattr(Store, "sync", sync)
    request = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
    with pytest.raises(StoreError, match="no disk"):
        awaited(one.dispatcher, request, 30)
    assert in_sync == {"a", "b"}
    assert one.seen == {name: "fo" for name in ("a", "b") if name not in failing}
    assert one.state(request.id) == "failed" and not request.debts


def test_each_try_after_a_start_has_its_record_on_the_disk(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last run committed may not have reached the disk, so it is synced again; once for all tries."""
    one = rack("a")
    one.held["a"] = threading.Event()
    submitted(one.dispatcher, Action.REBOOT, one.target("a"), 0)
    assert one.begun["a"].wait(30)
    synced: list[str] = []
    original = Store.sync

    def sync(store: Store) -> None:
        synced.append(one.seen["a"])
        original(store)

    monkeypatch.setattr(Store, "sync", sync)
    stopping = threading.Thread(target=one.stop)
    stopping.start()
    stopping.join(30)
    one.let_go("a")
    eventually(lambda: one.seen["a"] == "f")
    one.start()
    eventually(lambda: one.state(1) == "done")
    assert synced == ["f"] and one.seen["a"] == "ffo"


# -- a debt that is handed on


@pytest.mark.parametrize("already_waits", [False, True])
def test_a_reboot_that_waits_for_another_feed_keeps_the_debt_that_it_took_over(
    rack: Callable[..., Rack], already_waits: bool
) -> None:
    """Whether it comes when the on has failed, or was there before."""
    one = rack("a", "b")
    one.hold("b")
    if already_waits:
        one.refusing.add(("a", "on"))
        first = submitted(one.dispatcher, Action.REBOOT, one.target("a"), HOUR)
        later = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
        eventually(lambda: first.phase is Phase.ON)
        one.dispatcher.hurry(first)
    else:
        first = owing(one, "a")
        later = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
    eventually(lambda: one.state(first.id) == "superseded" and later.repairs[0].backing_off)
    with pytest.raises(Conflict, match="still has to switch on"):
        eventually(lambda: one.dispatcher.cancel(later.id))
    assert one.stop()[-1].startswith(f"request {later.id}: reboot a+b: a port 1 is to be switched on ")
    kept = Store(str(one.store))
    assert [request.id for request in kept.live() if request.must_switch_on] == [later.id]
    kept.close()


def test_the_board_is_switched_on_while_the_request_that_has_its_debt_waits(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debts, "FIRST_BACK_OFF", 0.1)
    one = rack("a", "b")
    owing(one, "a")
    one.hold("b")
    later = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
    one.refusing.clear()
    eventually(lambda: one.seen["a"] == "fo" and not later.debts)
    assert not later.settled
    one.dispatcher.cancel(later.id)  # nothing is owed any more
    one.let_go("b")
    eventually(lambda: one.seen["b"] == "o")
    assert one.seen["a"] == "fo"


def test_a_debt_outlives_the_age_of_the_request_that_has_it(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    owing(one, "a")
    one.hold("b")
    later = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
    one.stop()
    one.let_go("b")
    one.refusing.clear()
    one.clock.pass_by(HOUR)
    one.start()
    eventually(lambda: one.state(later.id) == "expired")
    assert one.seen["a"] == "fo"
    assert "f" not in one.seen["b"]  # its off was overdue
    assert "expired" in one.dispatcher.record(later.id)["reason"]


@pytest.mark.parametrize("feeds", [("a",), ("b", "a")])
def test_an_on_with_a_delay_pays_the_debt_at_once(rack: Callable[..., Rack], feeds: tuple[str, ...]) -> None:
    """Other feeds of the node are switched on when they were asked to be."""
    one = rack("a", "b", max_delay=HOUR)
    owing(one, "a")
    one.refusing.clear()
    later = submitted(one.dispatcher, Action.ON, one.target(*feeds), HOUR)
    eventually(lambda: one.seen["a"] == "fo" and not later.debts)
    if len(feeds) == 1:
        assert awaited(one.dispatcher, later, 30)
    else:
        assert later.ended is None and not one.seen["b"]


def test_an_on_with_a_delay_keeps_the_debt_up(rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debts, "FIRST_BACK_OFF", 0.1)
    one = rack("a")
    owing(one, "a")
    later = submitted(one.dispatcher, Action.ON, one.target("a"), HOUR)
    with pytest.raises(PDUDaemonError, match="on is tried again"):
        awaited(one.dispatcher, later, 30)
    with pytest.raises(Conflict):
        eventually(lambda: one.dispatcher.cancel(later.id))
    one.refusing.clear()
    eventually(lambda: one.state(later.id) == "done")
    assert one.seen["a"] == "fo"


def test_the_board_is_on_until_a_later_off_is_due(rack: Callable[..., Rack]) -> None:
    """The off with a delay does not make the board wait for that with its power off; nor does its cancelling."""
    one = rack("a")
    owing(one, "a")
    later = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    eventually(lambda: later.repairs[0].backing_off)
    with pytest.raises(Conflict, match="still has to switch on"):
        one.dispatcher.cancel(later.id)
    one.refusing.clear()
    one.restart()
    eventually(lambda: one.seen["a"] == "fo")
    eventually(lambda: not one.dispatcher._lanes.owed())
    assert one.state(later.id) == "waiting"
    one.dispatcher.cancel(later.id)


def test_an_off_that_is_due_ends_the_debt(rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it fails, and if an on was being tried meanwhile: nothing is switched on after it."""
    monkeypatch.setattr(debts, "FIRST_BACK_OFF", 0.05)
    one = rack("a")
    owing(one, "a")
    later = submitted(one.dispatcher, Action.OFF, one.target("a"), 0.5)
    assert awaited(one.dispatcher, later, 30)
    one.refusing.clear()
    last = submitted(one.dispatcher, Action.ON, one.target("a"))
    assert awaited(one.dispatcher, last, 30)
    assert one.seen["a"] == "ffo"


def test_no_on_for_a_debt_comes_after_the_off_that_ends_it(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The off is due while the PDU is busy, and so is the next try of the on, a little later; the other feed takes long."""
    monkeypatch.setattr(debts, "FIRST_BACK_OFF", 1.0)
    one = rack("a", "b")
    owing(one, "a")
    one.hold("b", port="2")
    later = submitted(one.dispatcher, Action.OFF, one.target("a", "b"), 0.5)
    repair = later.repairs[0]
    eventually(lambda: repair.backing_off)
    one.refusing.clear()
    one.hold("a", port="2")
    eventually(lambda: time.monotonic() > repair.at + 0.1)
    one.let_go("a")
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.dispatcher.config.target("a", "3")), 30)
    assert one.seen["a"] == "fofo" and not later.debts  # the on of port 2, the off, and the on of port 3
    one.let_go("b")
    assert awaited(one.dispatcher, later, 30)


def test_a_debt_that_nobody_can_pay_is_given_up_while_its_request_waits(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(debts, "FIRST_BACK_OFF", 0.05)
    one = rack("a", give_up=0.3)
    owing(one, "a")
    later = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    eventually(lambda: "a port 1 MAY BE OFF" in caplog.text)
    assert not later.debts and later.ended is None
    one.dispatcher.cancel(later.id)


def test_what_the_disk_does_not_take_still_pays_the_debt_that_it_took_over(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("a", "b", fsync="all")
    owing(one, "a")
    one.hold("b")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreError):
            submitted(one.dispatcher, Action.REBOOT, one.target("b", "a"), 0)
    one.refusing.clear()
    one.let_go("b")
    one.restart()
    eventually(lambda: one.seen["a"] == "fo")
    eventually(lambda: one.state(3) == "failed")
    assert "f" not in one.seen["b"]


def test_the_debt_for_a_disabled_pdu_waits_until_it_can_be_paid(rack: Callable[..., Rack]) -> None:
    """Though the other feed of the node goes on."""
    one = rack("a", "b")
    first = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 1.5)
    eventually(lambda: one.seen == {"a": "f", "b": "f"})
    one.stop()
    one.pdus["a"]["retries"] = "many"
    one.start()
    eventually(lambda: one.state(first.id) == "failed")
    assert one.seen == {"a": "f", "b": "fo"}
    (owed,) = one.stop()
    assert "a port 1 is to be switched on when a is not disabled any more" in owed
    one.start()
    one.pdus["a"]["retries"] = 1
    one.dispatcher.reload(one.config())
    eventually(lambda: one.seen["a"] == "fo")


# -- half of it


@pytest.mark.parametrize("restart", [False, True])
def test_a_request_that_is_cancelled_between_its_feeds_says_what_it_switched(
    rack: Callable[..., Rack], restart: bool
) -> None:
    one = rack("a", "b", settings={"retries": 2, "retrydelay": HOUR})
    one.refusing.add(("b", "on"))
    node = submitted(one.dispatcher, Action.ON, one.target("a", "b"))
    eventually(lambda: len(node.switched) == 2)
    if restart:
        one.clock.pass_by(HOUR)
        one.restart()
        eventually(lambda: one.state(node.id) == "expired")
    else:
        one.dispatcher.cancel(node.id)
    record = one.dispatcher.record(node.id)
    assert "switched before that: a port 1 on" in record["reason"]
    assert {"pdu": "a", "port": "1", "state": "on"} in record["switched"]
    assert {"pdu": "b", "port": "1", "state": "on"} not in record["switched"]


# -- clocks


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
    submitted(one.dispatcher, Action.REBOOT, one.target("a"), 2)
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
