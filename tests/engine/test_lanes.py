# SPDX-License-Identifier: MIT
"""`Lanes`: what follows each attempt, and what must be on the disk before it."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

import pytest

from pdudaemon.engine.lanes import cut_short, note
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import NotDone, PermanentError, StoreError, TransientError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, Stage, State, Submission, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted

HOUR = 3600.0


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


def test_an_on_of_a_reboot_whose_off_has_no_end_on_record_comes_at_once(rack: Callable[..., Rack]) -> None:
    """Its delay would be counted from there."""
    one = rack("a")
    on = Request(Action.REBOOT, one.target("a"), HOUR, "", 0.0, Phase.ON, remaining=[*one.target("a").outlets])
    on.accepted_uptime, on.debts = one.clock.uptime(), {*on.remaining}
    one.dispatcher._store.add_all([on])
    with one.dispatcher._lock:
        one.dispatcher._lanes.append(on)
    assert awaited(one.dispatcher, on, 30) and one.seen["a"] == "o"


def events(rack: Rack) -> list[str]:
    """Return what was told of requests since the start, a line each: which, what, of which outlets, and how."""
    found = []
    for event in rack.dispatcher.events.since(0)[0]:
        if event.request is not None:
            words = [event.request, event.kind, event.action, "+".join(each.pdu for each in event.outlets), event.state]
            found.append(" ".join(map(str, words)))
            found[-1] += f": {event.error}" if event.error else ""
            found[-1] += f" owes {'+'.join(sorted(each.pdu for each in event.owed))}" if event.owed else ""
    return found


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of requests, a line each, without how long they took."""
    lines = [each for each in caplog.records if each.name == "pdud.requests"]
    return [re.sub(r" after \d+\.\d s", "", f"{each.levelname} {each.getMessage()}") for each in lines]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that is logged."""
    caplog.set_level(logging.DEBUG, "pdud.requests")
    return caplog


def test_what_is_told_of_requests_that_end_well(rack: Callable[..., Rack], told: pytest.LogCaptureFixture) -> None:
    """An off comes to all feeds at once, an on to one after the other."""
    one = rack("a", "b")
    off = submitted(one.dispatcher, Action.OFF, one.target("a"), client="me")
    assert awaited(one.dispatcher, off, 30)
    on = submitted(one.dispatcher, Action.ON, one.target("b", "a"))
    assert awaited(one.dispatcher, on, 30)
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"))
    assert awaited(one.dispatcher, reboot, 30)
    assert events(one) == [
        "1 accepted off a queued",
        "1 begun off a running",
        "1 tried off a running",
        "1 ended off a done",
        "2 accepted on b+a queued",
        "2 begun on b+a running",
        "2 tried on b running",
        "2 tried on a running",
        "2 ended on b+a done",
        "3 accepted reboot a queued",
        "3 begun reboot a running",
        "3 tried off a running owes a",
        "3 tried on a running owes a",
        "3 ended reboot a done",
    ]
    assert logged(told) == [
        "INFO request 1: off a for me done",
        "INFO request 2: on b+a for  done",
        "INFO request 3: reboot a for  done",
    ]
    assert [getattr(each, "request", None) for each in told.records if each.name == "pdud.requests"] == [
        off,
        on,
        reboot,
    ]
    assert off.started is not None and off.accepted <= off.started <= (off.ended or 0)
    assert off.off_ended is None and reboot.off_ended is not None and reboot.off_ended_uptime is not None
    assert (reboot.started or 0) <= reboot.off_ended <= (reboot.ended or 0)
    assert on.results == dict.fromkeys(on.target.outlets) and not on.error
    for request in (off, on, reboot):
        assert not (request.steps or request.repairs or request.remaining or request.debts)
        assert request.outcome is Outcome.DONE and one.dispatcher._lanes.find(request.id) is None
    switched = {(each["pdu"], each["state"]) for each in one.dispatcher.record(on.id)["switched"]}
    assert switched == {("a", "on"), ("b", "on")} and one.dispatcher.record(off.id)["switched"][0]["state"] == "off"
    assert [pdu["requests"] for pdu in one.dispatcher.snapshot()] == [0, 0] and not one.dispatcher._lanes._lanes


def test_what_fails_is_tried_so_often_and_says_so(rack: Callable[..., Rack], told: pytest.LogCaptureFixture) -> None:
    """The feeds after one that fails are switched all the same."""
    one = rack("a", "b", settings={"retries": 3, "retrydelay": 0})
    one.refusing.add(("a", "on"))
    on = submitted(one.dispatcher, Action.ON, one.target("a", "b"))
    with pytest.raises(TransientError, match=r"^a: refused$"):
        awaited(one.dispatcher, on, 30)
    found = events(one)
    assert found.count("1 tried on a running: a: refused") == 3 and found.count("1 tried on b running") == 1
    assert found[:2] == ["1 accepted on a+b queued", "1 begun on a+b running"]
    assert found[-1] == "1 ended on a+b failed: a: refused" and len(found) == 7
    assert logged(told) == [
        "INFO request 1: on a+b: try 1 of 3 failed: a: refused",
        "INFO request 1: on a+b: try 2 of 3 failed: a: refused",
        "WARNING request 1: on a+b for  failed: a: refused",
    ]
    assert {outlet.pdu: str(error) for outlet, error in on.results.items()} == {"a": "a: refused", "b": "None"}
    assert {each["pdu"]: each["state"] for each in one.dispatcher.record(1)["switched"]} == {"a": "unknown", "b": "on"}
    assert one.seen == {"b": "o"}


def test_what_fails_for_good_is_tried_once(rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.rack.TransientError", PermanentError)
    one = rack("a", settings={"retries": 3, "retrydelay": 0})
    one.refusing.add(("a", "off"))
    with pytest.raises(PermanentError, match="a: refused"):
        awaited(one.dispatcher, submitted(one.dispatcher, Action.OFF, one.target("a")), 30)
    assert [line for line in events(one) if " tried " in line] == ["1 tried off a running: a: refused"]


def test_between_two_tries_there_is_a_pause_in_which_others_act(rack: Callable[..., Rack]) -> None:
    one = rack("a", settings={"retries": 2, "retrydelay": HOUR})
    one.refusing.add(("a", "off"))
    off = submitted(one.dispatcher, Action.OFF, one.target("a"))
    eventually(lambda: off.steps and off.steps[0].error)
    later = submitted(one.dispatcher, Action.ON, one.target("a"))
    other = submitted(one.dispatcher, Action.ON, one.dispatcher.config.target("a", "2"))
    assert awaited(one.dispatcher, other, 30)
    with pytest.raises(NotDone, match=rf"not done after 0 s: queued behind request {off.id}; it goes on"):
        awaited(one.dispatcher, later, 0)
    with pytest.raises(NotDone, match="not done after 0 s: a: refused; it goes on"):
        awaited(one.dispatcher, off, 0)
    assert HOUR - 60 < off.steps[0].at - time.monotonic() <= HOUR
    one.dispatcher.cancel(off.id)
    assert awaited(one.dispatcher, later, 30) and one.seen["a"] == "oo"


def test_offs_come_to_all_feeds_at_once_and_ons_in_order(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b", "c")
    one.held["a"] = threading.Event()
    on = submitted(one.dispatcher, Action.ON, one.target("a", "b", "c"))
    assert one.begun["a"].wait(30)
    assert [step.stage for step in on.steps] == [Stage.RUNNING, Stage.PLANNED, Stage.PLANNED] and not one.seen
    one.let_go("a")
    assert awaited(one.dispatcher, on, 30) and one.seen == {"a": "o", "b": "o", "c": "o"}
    one.held["a"] = threading.Event()
    off = submitted(one.dispatcher, Action.OFF, one.target("a", "b", "c"))
    eventually(lambda: one.seen == {"a": "o", "b": "of", "c": "of"})
    eventually(lambda: off.remaining == [*one.target("a").outlets])
    assert one.dispatcher._lanes.find(off.id) is off
    later = submitted(one.dispatcher, Action.ON, one.target("b"))  # this feed is free again
    assert awaited(one.dispatcher, later, 30) and not off.settled
    one.let_go("a")
    assert awaited(one.dispatcher, off, 30) and one.seen == {"a": "of", "b": "ofo", "c": "of"}


def test_a_failing_off_of_a_reboot_says_what_follows(
    rack: Callable[..., Rack], told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("a", "b")
    one.refusing.add(("a", "off"))
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
    with pytest.raises(TransientError, match="a: refused"):
        awaited(one.dispatcher, reboot, 30)
    assert one.seen == {"a": "o", "b": "fo"} and reboot.outcome is Outcome.FAILED
    assert "ERROR request 1: reboot a+b: the off failed, the on follows all the same: a: refused" in logged(told)
    assert logged(told)[-1] == "WARNING request 1: reboot a+b for  failed: a: refused"

    def sync(_: Store) -> None:
        raise StoreError("no disk")

    monkeypatch.setattr(Store, "sync", sync)
    with pytest.raises(StoreError):
        awaited(one.dispatcher, submitted(one.dispatcher, Action.REBOOT, one.target("b"), 0), 30)
    assert "ERROR request 2: reboot b: the off failed, the port was not touched: no disk" in logged(told)
    assert one.seen == {"a": "o", "b": "fo"} and not one.dispatcher._lanes.live


def test_what_is_told_of_an_on_that_is_owed(rack: Callable[..., Rack], told: pytest.LogCaptureFixture) -> None:
    one = rack("a")
    one.refusing.add(("a", "on"))
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), 0)
    with pytest.raises(TransientError, match=r"^a: refused; the port may be off, on is tried again$"):
        awaited(one.dispatcher, reboot, 30)
    assert reboot.settled and reboot.ended is None
    assert logged(told) == ["ERROR request 1: reboot a: a port 1 may be off, on is tried again in 30 s: a: refused"]
    assert 0 < reboot.steps[0].at - time.monotonic() <= 30
    assert one.dispatcher._lanes.owed()[0].startswith("request 1: reboot a: a port 1 is to be switched on in ")
    one.refusing.clear()
    later = submitted(one.dispatcher, Action.OFF, one.target("a"), client="me")
    assert awaited(one.dispatcher, later, 30) and one.seen["a"] == "ff"
    assert logged(told)[1:] == [
        "WARNING request 1: reboot a for  superseded: superseded by request 2",
        "INFO request 2: off a for me done",
    ]
    assert events(one)[-4:] == [
        "1 ended reboot a superseded: superseded by request 2",
        "2 begun off a running owes a",
        "2 tried off a running",
        "2 ended off a done",
    ]
    assert one.dispatcher._lanes.owed() == []


def test_an_on_that_nobody_can_do_is_given_up_with_a_cry(
    rack: Callable[..., Rack], told: pytest.LogCaptureFixture
) -> None:
    one = rack("a", give_up=0)
    one.refusing.add(("a", "on"))
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), 0)
    with pytest.raises(TransientError, match=r"^a: refused$"):
        awaited(one.dispatcher, reboot, 30)
    assert reboot.outcome is Outcome.GIVEN_UP and not reboot.debts and one.state(1) == "given up"
    assert logged(told) == [
        "CRITICAL request 1: reboot a given up: a port 1 MAY BE OFF: a: refused",
        "WARNING request 1: reboot a for  given up: a: refused",
    ]


def test_of_two_requests_at_once_the_first_takes_the_debt_over(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    reboot = owing(one, "a")
    wanted = [
        Submission(Action.OFF, one.target("b"), HOUR),
        Submission(Action.OFF, one.target("a"), HOUR),
        Submission(Action.OFF, one.target("a"), HOUR),
    ]
    other, first, second = one.dispatcher.submit(wanted)
    assert isinstance(other, Request) and isinstance(first, Request) and isinstance(second, Request)
    assert first.debts == {*one.target("a").outlets} and not second.debts and not other.debts
    assert reboot.outcome is Outcome.SUPERSEDED and not reboot.debts
    eventually(lambda: one.dispatcher.record(reboot.id)["reason"] == f"superseded by request {first.id}")
    one.refusing.clear()


def test_a_debt_of_another_outlet_is_not_taken_over(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    reboot = owing(one, "a", "b")
    eventually(lambda: one.seen["b"] == "fo")
    later = submitted(one.dispatcher, Action.OFF, one.target("b"))
    assert awaited(one.dispatcher, later, 30) and not later.debts
    assert one.seen == {"a": "f", "b": "fof"}
    assert reboot.debts == {*one.target("a").outlets} and reboot.ended is None


def test_a_delay_is_no_longer_than_it_was_though_the_clock_is_set_back(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    off = submitted(one.dispatcher, Action.OFF, one.target("a"), 100.0)
    one.clock.uptime_off -= HOUR
    one.let_go("a")
    eventually(lambda: off.steps)
    assert 40 < off.steps[0].at - time.monotonic() <= 100
    one.dispatcher.cancel(off.id)


@pytest.mark.parametrize("action", [Action.ON, Action.OFF])
def test_a_delay_begins_when_the_request_is_accepted(rack: Callable[..., Rack], action: Action) -> None:
    one = rack("a")
    one.hold("a")
    later = submitted(one.dispatcher, action, one.target("a"), HOUR)
    one.clock.uptime_off += HOUR / 2
    one.let_go("a")
    eventually(lambda: later.steps)
    assert HOUR / 2 - 60 < later.steps[0].at - time.monotonic() <= HOUR / 2
    one.clock.uptime_off -= HOUR / 2
    one.dispatcher.cancel(later.id)


def test_the_delay_of_a_reboot_begins_when_its_last_off_has_ended(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.hold("b", "2")
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), HOUR)
    eventually(lambda: one.seen["a"] == "f")
    assert reboot.phase is Phase.OFF
    one.clock.uptime_off += HOUR
    one.let_go("b")
    eventually(lambda: reboot.phase is Phase.ON and reboot.steps)
    assert HOUR - 60 < reboot.steps[0].at - time.monotonic() <= HOUR
    assert [step.stage for step in reboot.steps] == [Stage.QUEUED, Stage.PLANNED]
    with pytest.raises(NotDone, match=r"a port 1 is off, and is switched on in 3\d{3} s"):
        awaited(one.dispatcher, reboot, 0)
    one.dispatcher.hurry(reboot)
    assert awaited(one.dispatcher, reboot, 30) and one.seen == {"a": "fo", "b": "ofo"}


def test_ons_of_a_pdu_that_staggers_come_one_after_the_other_and_say_when(rack: Callable[..., Rack]) -> None:
    one = rack("a", settings={"stagger": HOUR})
    first = submitted(one.dispatcher, Action.ON, one.target("a"))
    assert awaited(one.dispatcher, first, 30)
    later = submitted(one.dispatcher, Action.ON, one.dispatcher.config.target("a", "2"))
    off = submitted(one.dispatcher, Action.OFF, one.dispatcher.config.target("a", "3"))
    assert awaited(one.dispatcher, off, 30) and one.seen["a"] == "of"
    (waiting,) = [event for event in one.dispatcher.events.since(0)[0] if event.kind == "waiting"]
    assert (waiting.request, waiting.action, waiting.state) == (later.id, "on", "waiting")
    assert waiting.due is not None and HOUR - 60 < waiting.due - waiting.time <= HOUR
    assert one.dispatcher.record(later.id)["reason"].startswith("staggered: to be switched on in 3")
    assert HOUR - 60 < later.steps[0].at - time.monotonic() <= HOUR
    one.dispatcher.cancel(later.id)


def test_one_that_has_waited_for_others_is_switched_on(rack: Callable[..., Rack]) -> None:
    one = rack("a", settings={"stagger": 0.1})
    targets = [one.dispatcher.config.target("a", port) for port in ("1", "2", "3")]
    ons = one.dispatcher.submit([Submission(Action.ON, target) for target in targets])
    for on in ons:
        assert isinstance(on, Request)
        assert awaited(one.dispatcher, on, 30)
    assert one.seen["a"] == "ooo"
    waited = [event.request for event in one.dispatcher.events.since(0)[0] if event.kind == "waiting"]
    assert waited == [on.id for on in ons[1:] if isinstance(on, Request)]


def test_what_became_of_an_outlet_is_noted_with_what_was_before() -> None:
    request = Request(Action.OFF, Target("x", (Outlet("a", "1"),)), 0, "", 0.0, Phase.OFF)
    note(request, None)
    assert request.error is None and not request.results
    first, second = TransientError("one"), PermanentError("two")
    note(request, None, request.target.outlets[0])
    assert request.results == {Outlet("a", "1"): None}
    note(request, first, request.target.outlets[0])
    note(request, second, request.target.outlets[0])
    assert request.results == {Outlet("a", "1"): first}
    assert isinstance(request.error, TransientError) and str(request.error) == "one; two"


def test_what_was_cut_short_says_what_it_had_switched() -> None:
    request = Request(Action.OFF, Target("x", (Outlet("a", "1"),)), 0, "", 0.0, Phase.OFF)
    assert str(cut_short(request, "it was")) == "it was"
    request.switched = {Outlet("a", "1"): (State.OFF, 1.0), Outlet("b", "2"): (State.UNKNOWN, 2.0)}
    assert str(cut_short(request, "it was")) == "it was; switched before that: a port 1 off, b port 2 unknown"


@pytest.mark.parametrize("waits_for", ["its delay", "another feed"])
def test_a_debt_that_was_taken_over_is_paid_while_its_request_waits(rack: Callable[..., Rack], waits_for: str) -> None:
    one = rack("a", "b")
    owing(one, "a")
    one.refusing.clear()
    if waits_for == "its delay":
        later = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    else:
        one.hold("b")
        later = submitted(one.dispatcher, Action.REBOOT, one.target("b", "a"), 0)
    eventually(lambda: one.seen["a"] == "fo" and not later.debts and not later.repairs)
    assert not later.settled and later.started is None
    assert f"{later.id} tried on a running owes a" in events(one)
    assert not [line for line in events(one) if line.startswith(f"{later.id} begun")]
    if waits_for == "its delay":
        one.dispatcher.cancel(later.id)
    else:
        one.let_go("b")
        assert awaited(one.dispatcher, later, 30) and one.seen == {"a": "fofo", "b": "ofo"}


def test_what_a_request_does_itself_takes_the_place_of_what_keeps_its_debt_up(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    owing(one, "a")
    later = submitted(one.dispatcher, Action.OFF, one.target("a"), 4)
    eventually(lambda: later.repairs and later.repairs[0].backing_off)
    (repair,) = later.repairs
    assert repair.repair and repair.action is Action.ON
    one.refusing.clear()
    assert awaited(one.dispatcher, later, 30) and one.seen["a"] == "ff"
    assert repair.ended and repair.timer is None and not later.repairs


def test_a_debt_is_kept_up_once_however_often_its_request_is_looked_at(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b", "c")
    owing(one, "a")
    one.hold("b")
    one.hold("c")
    later = submitted(one.dispatcher, Action.REBOOT, one.target("b", "c", "a"), 0)
    eventually(lambda: later.repairs and later.repairs[0].backing_off)
    one.let_go("b")
    eventually(lambda: one.seen["b"] == "o" and one.dispatcher.snapshot()[1]["requests"] == 1)
    assert len(later.repairs) == 1 and not later.begun
    one.refusing.clear()
    one.let_go("c")
    assert awaited(one.dispatcher, later, 30) and one.seen == {"a": "ffo", "b": "ofo", "c": "ofo"}


def test_an_on_that_fails_is_handed_to_who_waits_behind_it(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.refusing.add(("a", "on"))
    first = submitted(one.dispatcher, Action.REBOOT, one.target("a"), HOUR)
    eventually(lambda: first.phase is Phase.ON)
    later = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    last = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    assert not later.debts
    one.dispatcher.hurry(first)
    eventually(lambda: one.state(first.id) == "superseded")
    assert later.debts == {*one.target("a").outlets} and not last.debts and not first.debts
    eventually(lambda: one.dispatcher.record(later.id)["owed"] == [{"pdu": "a", "port": "1"}])
    one.refusing.clear()
