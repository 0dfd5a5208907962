# SPDX-License-Identifier: MIT
"""Debts: whoever has one pays it, hands it on, or gives it up; and says so."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

import pytest

from pdudaemon.engine import debts
from pdudaemon.engine.lanes import drop
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import Conflict, PDUDaemonError, StoreError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, Step, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted

HOUR = 3600.0


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
    monkeypatch.setattr(debts, "FIRST_BACK_OFF", 6.0)
    one = rack("a", "b")
    owing(one, "a")
    one.hold("b", port="2")
    later = submitted(one.dispatcher, Action.OFF, one.target("a", "b"), 5)
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
    one = rack("a", give_up=3)
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
    eventually(lambda: one.seen["a"][:2] == "fo")
    eventually(lambda: one.state(3) == "failed")
    assert one.seen["a"][2:] in ("", "o"), "once more where one was on its way when the disk refused"
    assert "f" not in one.seen["b"]


def asked(action: Action, *pdus: str, phase: Phase = Phase.OFF) -> Request:
    """Return a request for some outlets, which nobody knows."""
    outlets = tuple(Outlet(pdu, "1") for pdu in pdus)
    return Request(action, Target("+".join(pdus), outlets), 5.0, "", 0.0, phase, id=7, remaining=[*outlets])


def planned(request: Request, action: Action, seconds: float = 0.0) -> Step:
    """Return a step for the first outlet of a request, and make it the request's."""
    step = Step(request, request.target.outlets[0], action, action, at=time.monotonic() + seconds)
    request.steps.append(step)
    return step


def test_what_is_owed_is_said_with_when_it_is_due() -> None:
    """By the step that pays it, or else by what that waits for."""
    request = asked(Action.REBOOT, "a", "b")
    begin = "request 7: reboot a+b: a port 1 is to be switched on "
    request.debts.add(request.target.outlets[0])

    def said(disabled: bool = False) -> list[str]:
        return debts.owed([request], lambda name: disabled and name == "a")

    assert said() == [f"{begin}when its turn has come, at the next start"]
    off = planned(request, Action.OFF)
    assert said() == [f"{begin}when the off is done, at the next start"]
    assert said(disabled=True) == [f"{begin}when a is not disabled any more"]
    drop(off)
    on = planned(request, Action.ON, 90.4)
    assert said() == said(disabled=True) == [f"{begin}in 90 s, at the next start"]
    on.at -= 1000
    assert said() == [f"{begin}in 0 s, at the next start"]
    drop(on)
    assert said() == [f"{begin}when the off is done, at the next start"]
    other = Step(request, request.target.outlets[1], Action.ON, Action.ON, at=time.monotonic() + 50)
    request.steps.append(other)
    assert said() == [f"{begin}when the off is done, at the next start"], "that one is for another outlet"
    request.debts.clear()
    assert said() == []


def test_an_on_that_fails_is_put_off_longer_and_longer_until_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    step = planned(asked(Action.REBOOT, "a"), Action.ON)
    pauses = []
    while (pause := debts.back_off(step, 1200.0)) is not None:
        assert step.attempts == 0 and step.failing_since == 1000.0
        pauses.append(pause)
        now += pause
        step.attempts = 5
    assert pauses == [30, 60, 120, 240, 300, 300, 150] and step.rounds == 8
    assert debts.back_off(planned(asked(Action.REBOOT, "a"), Action.ON), 0.0) is None


@pytest.mark.parametrize(("phase", "after"), [(Phase.RESTART, Phase.OFF), (Phase.OFF, Phase.OFF), (Phase.ON, Phase.ON)])
def test_a_device_that_may_be_off_is_not_restarted(phase: Phase, after: Phase) -> None:
    request = asked(Action.REBOOT, "a", phase=phase)
    debts.take_over(request, request.target.outlets[0])
    assert request.phase is after and request.debts == {*request.target.outlets}


def test_who_only_pays_lets_the_rest_be() -> None:
    request = asked(Action.REBOOT, "a", "b", "c")
    a, b, c = request.target.outlets
    request.debts = {b}
    assert debts.only_pay(request) == [a, c] and request.remaining == [b] and request.phase is Phase.ON


@pytest.mark.parametrize(("action", "seen"), [(Action.OFF, "ff"), (Action.REBOOT, "ffo")])
def test_who_has_the_debt_settles_it_by_what_he_does(rack: Callable[..., Rack], action: Action, seen: str) -> None:
    """An on is not switched in between, though it is owed: that is for an on alone, and at once."""
    one = rack("a")
    first = owing(one, "a")
    one.refusing.clear()
    later = submitted(one.dispatcher, action, one.target("a"), 0)
    assert awaited(one.dispatcher, later, 30) and first.outcome is Outcome.SUPERSEDED
    assert one.seen["a"] == seen and not later.debts
