# SPDX-License-Identifier: MIT
"""`Interventions`: a hurry and a cancel end what they may, and nothing else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from pdudaemon.engine import dispatcher
from pdudaemon.engine.queries import Look
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import Conflict, DeviceTimeout, PDUDaemonError, RequestEnded, Stopping, StoreError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Reading, Request, Stage, Submission, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted

HOUR = 3600.0
A1 = Outlet("a", "1")


def test_a_hurry_ends_the_pause_between_two_tries_of_an_off(rack: Callable[..., Rack]) -> None:
    one = rack("a", settings={"retries": 3, "retrydelay": HOUR})
    one.refusing.add(("a", "off"))
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), HOUR)
    eventually(lambda: reboot.steps and reboot.steps[0].attempts == 1 and reboot.steps[0].stage is Stage.QUEUED)
    one.dispatcher.hurry(reboot)
    with pytest.raises(RequestEnded, match="interrupted between two tries"):
        awaited(one.dispatcher, reboot, 30)
    assert one.seen["a"] == "o" and not reboot.debts


def test_a_hurry_interrupts_neither_an_off_that_acts_nor_one_that_has_not_been_tried(
    rack: Callable[..., Rack],
) -> None:
    one = rack("a", "b")
    one.hold("b", "2")
    one.held["a"] = threading.Event()
    one.begun["a"].clear()
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), HOUR)
    assert one.begun["a"].wait(30)
    one.dispatcher.hurry(reboot)
    assert [step.stage for step in reboot.steps] == [Stage.RUNNING, Stage.QUEUED]
    assert reboot.delay == 0, "so that the ons follow at once"
    one.let_go("a")
    one.let_go("b")
    assert awaited(one.dispatcher, reboot, 30)
    assert one.seen == {"a": "fo", "b": "ofo"} and reboot.outcome is Outcome.DONE


def test_a_hurry_brings_the_on_that_waits_for_its_delay_forward_and_does_nothing_twice(
    rack: Callable[..., Rack],
) -> None:
    one = rack("a", "b")
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), HOUR)
    eventually(lambda: reboot.phase is Phase.ON)
    one.held["b"] = threading.Event()
    one.dispatcher.hurry(reboot)
    eventually(lambda: one.seen["a"] == "fo" and reboot.steps[1].running)
    one.dispatcher.hurry(reboot)
    one.let_go("b")
    assert awaited(one.dispatcher, reboot, 30) and one.seen == {"a": "fo", "b": "fo"}


def test_what_acts_or_owes_an_on_is_not_cancelled(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    (running,) = one.dispatcher.records(1)
    with pytest.raises(Conflict, match="is being carried out"):
        one.dispatcher.cancel(running["id"])
    one.let_go("a")
    reboot = owing(one, "a")
    with pytest.raises(Conflict, match="still has to switch on; to leave the port off, ask with half=on"):
        one.dispatcher.cancel(reboot.id)
    one.dispatcher.cancel(reboot.id, "on")
    assert reboot.outcome is Outcome.CANCELLED and one.state(reboot.id) == "cancelled"
    with pytest.raises(Conflict, match="cannot be cancelled: it is cancelled"):
        one.dispatcher.cancel(reboot.id, "on")
    assert "switched before that: a port 1 unknown" in one.dispatcher.record(reboot.id)["reason"]


def refuse_to_sync(_: object) -> None:
    raise StoreError("no disk")


def test_what_the_disk_does_not_take_has_failed_and_is_not_switched(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = rack("a", fsync="all")
    one.hold("a", "2")
    with monkeypatch.context() as patched, pytest.raises(StoreError, match="no disk"):
        patched.setattr(Store, "sync", refuse_to_sync)
        submitted(one.dispatcher, Action.OFF, one.target("a"))
    record = one.dispatcher.records(1)[0]
    assert (record["state"], record["reason"]) == ("failed", "no disk")
    assert [each.levelno for each in caplog.records if "off a for" in each.getMessage()] == [logging.ERROR]
    assert one.dispatcher.snapshot()[0]["requests"] == 1
    one.let_go("a")
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target("a")), 30) and one.seen["a"] == "oo"


def test_what_the_disk_does_not_take_pays_the_debt_that_it_has_taken_over_and_does_no_more(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, though it was to wait for another feed; the on that it has begun besides is not to hinder it."""
    one = rack("a", "b", fsync="all")
    owing(one, "a")
    one.hold("b")
    one.held["a"] = threading.Event()
    one.begun["a"].clear()
    one.refusing.clear()

    def sync(_: object) -> None:
        assert one.begun["a"].wait(30)
        raise StoreError("no disk")

    with monkeypatch.context() as patched, pytest.raises(StoreError, match="no disk"):
        patched.setattr(Store, "sync", sync)
        submitted(one.dispatcher, Action.REBOOT, one.target("b", "a"), 0)
    one.dispatcher._store.flush()
    on_record = one.dispatcher._store.request(3)
    assert (on_record.phase, on_record.remaining, on_record.debts) == (Phase.ON, [A1], {A1})
    one.let_go("a")
    eventually(lambda: one.seen["a"].startswith("fo"))
    eventually(lambda: one.state(3) == "failed")
    assert "no disk" in one.dispatcher.record(3)["reason"]
    one.let_go("b")
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.OFF, one.target("b")), 30) and one.seen["b"] == "of"


def test_what_had_begun_is_begun_anew_for_its_debt_alone(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn has come already when the disk does not take it."""
    one = rack("a", "b", fsync="all")
    owing(one, "a")
    one.refusing.clear()
    one.hold("a", "2")  # so that it can be handed over, but not start
    one.hold("b", "2")
    with monkeypatch.context() as patched, pytest.raises(StoreError):
        patched.setattr(Store, "sync", refuse_to_sync)
        submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
    number = one.dispatcher.records(1)[0]["id"]
    one.let_go("a")
    one.let_go("b")
    eventually(lambda: one.state(number) == "failed")
    eventually(lambda: one.seen == {"a": "foo", "b": "o"})  # that of b is of the request before
    eventually(lambda: not one.dispatcher._lanes.live)


def test_what_is_kept_and_cancelled_is_no_more(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    kept = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    one.stop()
    one.pdus["a"]["retries"] = "many"
    one.start()
    assert one.dispatcher.live_figures().unended == 1
    one.dispatcher.cancel(kept.id)
    assert one.dispatcher.live_figures().unended == 0 and one.state(kept.id) == "cancelled"
    assert f"request {kept.id} was cancelled" in one.dispatcher.record(kept.id)["reason"]


def test_who_waits_for_a_pdu_that_is_stuck_is_told_and_nobody_else(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other feeds of a node are switched past it; what another PDU is to do in order stays in order."""
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.0)
    one = rack("a", "b", "c", settings={"timeout": 0.3})
    one.pdus["c"]["timeout"] = one.pdus["b"]["timeout"] = 3000
    one.dispatcher.reload(one.config())
    for name in ("b", "c"):  # with the time that they have now
        assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target(name)), 30)
    one.held["a"], one.held["c"] = threading.Event(), threading.Event()
    outlets = (*one.target("c").outlets, *one.dispatcher.config.target("a", "2").outlets)
    wanted = [
        Submission(Action.ON, Target("other", outlets)),
        Submission(Action.OFF, one.target("c")),
        Submission(Action.ON, one.target("a", "b")),
    ]
    other, alone, node = one.dispatcher.submit(wanted)  # at once: when it is stuck, nothing more is accepted
    assert isinstance(other, Request) and isinstance(alone, Request) and isinstance(node, Request)
    with pytest.raises(DeviceTimeout, match="a: stuck"):
        awaited(one.dispatcher, node, 60)
    eventually(lambda: one.seen["b"] == "oo")
    assert other.settled and not alone.settled
    assert [step.stage for step in other.steps] == [Stage.RUNNING, Stage.PLANNED]
    one.let_go("a")
    eventually(lambda: one.state(node.id) == "done")
    assert one.seen["a"] == "o"
    one.let_go("c")
    eventually(lambda: one.state(other.id) == "done")
    assert one.seen["a"] == "oo"


def closed(rack: Rack, bound: float) -> tuple[threading.Thread, list[str]]:
    """Begin to end the dispatcher, with so much time; what has yet to be switched on comes into the list."""
    owed: list[str] = []
    rack._running = False
    thread = threading.Thread(target=lambda: owed.extend(rack.dispatcher.close(bound)[1]))
    thread.start()
    return thread, owed


def test_a_stop_waits_for_what_acts_and_tells_the_others_at_once(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    told: list[PDUDaemonError | None] = []
    later = submitted(one.dispatcher, Action.OFF, one.target("b"), HOUR)
    one.dispatcher.join(later, lambda _, trouble: told.append(trouble))
    one.hold("a")
    one.dispatcher.join(one.dispatcher._lanes.live[2], lambda _, trouble: told.append(trouble))
    stopping, owed = closed(one, HOUR)
    eventually(lambda: told)
    assert isinstance(told[0], Stopping) and stopping.is_alive()
    one.let_go("a")
    stopping.join(30)
    assert told[1:] == [None]
    assert not stopping.is_alive() and owed == []
    one.start()
    assert one.seen == {"a": "o"} and one.state(2) == "done" and one.state(later.id) == "waiting"


def test_a_stop_waits_for_a_question_that_has_been_put(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LEAVE_GRACE", 0.0)
    one = rack("a")
    one.held["a"] = threading.Event()
    told: list[object] = []
    one.dispatcher.ask([Look((A1,), told.append)])
    eventually(lambda: one.dispatcher._acting)
    stopping, _ = closed(one, HOUR)
    stopping.join(0.3)
    assert stopping.is_alive() and not told
    one.let_go("a")
    stopping.join(30)
    assert not stopping.is_alive() and isinstance(told[0], Reading)


@pytest.mark.parametrize(("delay", "bound", "seen"), [(0.3, HOUR, "fo"), (2 * HOUR, HOUR, "f"), (HOUR, 0, "f")])
def test_a_stop_waits_for_an_on_that_is_owed_and_due_by_then(
    rack: Callable[..., Rack], delay: float, bound: float, seen: str
) -> None:
    one = rack("a")
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), delay)
    eventually(lambda: reboot.phase is Phase.ON)
    stopping, owed = closed(one, bound)
    stopping.join(30)
    assert not stopping.is_alive() and one.seen["a"] == seen
    assert [line.partition(" in ")[0] for line in owed] == (
        [] if seen == "fo" else ["request 1: reboot a: a port 1 is to be switched on"]
    )


def test_an_on_that_nobody_owes_is_not_waited_for(rack: Callable[..., Rack]) -> None:
    """However soon it is due: it comes with the next start."""
    one = rack("a")
    on = submitted(one.dispatcher, Action.ON, one.target("a"), HOUR / 2)
    stopping, owed = closed(one, HOUR)
    stopping.join(30)
    assert not stopping.is_alive() and not owed and not one.seen["a"]
    one.clock.pass_by(HOUR / 2)
    one.start()
    eventually(lambda: one.state(on.id) == "done")
