# SPDX-License-Identifier: MIT
"""`Dispatcher` where the test is every worker: whether a job may act, what is on record by then, and who tells of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.dispatcher import STUCK_GRACE, WRITE_AGAIN, Dispatcher
from pdudaemon.engine.outlets import Found
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import DeviceError, PDUDaemonError, StoreError, TransientError
from pdudaemon.power import Action, Phase, Reading, Request, Stage, State, Step
from pdudaemon.transports import command
from tests.support.workless import A2, A, B, Lab, labs


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lab]]:
    with labs(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def lab(make: Callable[..., Lab]) -> Lab:
    return make()


# Whether it may act.


@pytest.mark.parametrize("stage", [*Stage])
@pytest.mark.parametrize("how", ["", "closing", "closed"])
@pytest.mark.parametrize("owed", [True, False])
def test_a_step_acts_if_it_is_still_wanted(lab: Lab, stage: Stage, how: str, owed: bool) -> None:
    """Of a daemon that stops what is owed alone, of one that has closed nothing."""
    request = lab.ask("on")
    step = lab.jobs[-1]
    step.stage = stage
    if owed:
        request.debts.add(A)
    lab.dispatcher._fleet.closing = how == "closing"
    lab.dispatcher._closed = how == "closed"
    wanted = stage is Stage.QUEUED and (not how or (how == "closing" and owed))
    assert lab.begin() is wanted
    assert lab.acting() is wanted and step.attempts == wanted and (request.started is not None) is wanted
    assert lab.runners["a"].device.due == (500.0 + 7 + STUCK_GRACE if wanted else float("inf"))


@pytest.mark.parametrize(
    ("asked", "closing", "wanted"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_a_question_is_put_if_somebody_waits_for_it(lab: Lab, asked: bool, closing: bool, wanted: bool) -> None:
    query = lab.look()
    if not asked:
        query.askers.clear()
    lab.dispatcher._fleet.closing = closing
    assert lab.begin() is wanted and lab.acting() is wanted
    assert lab.dispatcher._queries.queued["a"] == 0


@pytest.mark.parametrize(("waiting", "wanted"), [(0, True), (1, False)])
def test_a_survey_is_made_if_nothing_has_come_behind_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, waiting: int, wanted: bool
) -> None:
    survey = lab.survey()
    monkeypatch.setattr(type(lab.runners["a"]), "waiting", waiting)
    assert lab.begin(survey) is wanted and survey.begun is wanted and lab.acting() is wanted
    assert lab.runners["a"].device.survey is (survey.hurry if wanted else None)


@pytest.mark.parametrize("before", ["its request", "its device", "another"])
@pytest.mark.parametrize("wanted", [True, False])
def test_what_was_done_before_is_on_record_when_it_acts(lab: Lab, before: str, wanted: bool) -> None:
    lab.dispatcher.led_by(lab)  # type: ignore[arg-type]
    other = lab.ask("off", A2)
    request = lab.ask("on")
    noted = request if before == "its request" else other
    lab.runners["a"].device.request = other.id if before == "its device" else 99
    with lab.dispatcher._lock.bare:
        lab.store.note(noted)
    if not wanted:
        lab.jobs[-1].stage = Stage.ENDED
    assert lab.begin() is wanted
    assert [*lab.store.noted] == ([] if wanted and before != "another" else [noted.id])


def test_nothing_is_on_record_because_of_a_question(lab: Lab) -> None:
    lab.dispatcher.led_by(lab)  # type: ignore[arg-type]
    other = lab.ask("off", A2)
    lab.ask("off", B)
    lab.runners["a"].device.request = other.id
    query = lab.look()
    with lab.dispatcher._lock.bare:
        lab.store.note(other)
    assert lab.begin(query) and [*lab.store.noted] == [other.id]


def test_what_there_is_to_tell_is_told_as_a_job_begins(lab: Lab) -> None:
    lab.ask("on")
    with lab.dispatcher._lock.bare:
        lab.dispatcher._lock.tell(lab.told.append, "so")
    assert lab.begin() and lab.told == ["so"]
    lab.ask("on", B)
    lab.dispatcher.led_by(lab)  # type: ignore[arg-type]
    assert lab.begin() and lab.woken == 0, "there was nothing"


# What the disk must have first.


def test_an_off_of_a_reboot_is_a_debt_on_the_disk_before_it(
    make: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its time from then on: a slow disk takes none of it."""
    lab = make(stored=True)
    request = lab.ask("reboot")
    seen: list[object] = []

    def sync() -> None:
        kept = lab.store.request(request.id)
        seen.append((kept.debts, kept.started is not None, lab.runners["a"].device.due, lab.dispatcher._lock.locked()))
        lab.now += 60

    monkeypatch.setattr(lab.store, "sync", sync)
    assert lab.begin() is True
    assert seen == [({A}, True, 507.0 + STUCK_GRACE, False)]
    assert lab.runners["a"].device.due == 567.0 + STUCK_GRACE and lab.acting()
    step = lab.jobs[-1]
    assert step.promised and request.debts == {A} and step.running


@pytest.mark.parametrize(("phase", "indebted"), [("off", True), ("off", False), ("restart", False)])
@pytest.mark.parametrize("where", ["flush", "sync"])
def test_what_the_disk_does_not_take_is_not_done(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, phase: str, indebted: bool, where: str
) -> None:
    request = lab.ask("reboot")
    step = lab.jobs[-1]
    if phase == "restart":
        step.action, request.phase = Action.REBOOT, Phase.RESTART
    if indebted:
        request.debts.add(A)
    refused: list[Stage] = []

    def refuse() -> None:
        refused.append(step.stage)
        raise StoreError("full")

    lab.runners["a"].device.stuck = "a"
    with monkeypatch.context() as patched:
        patched.setattr(lab.store, where, refuse)
        assert lab.begin() is False
    assert (
        {*refused} == {Stage.RUNNING} and not lab.acting() and not step.promised and lab.runners["a"].device.stuck == ""
    )
    if indebted and phase == "off":
        assert request.debts == {A} and request.outcome is None and request.phase.value == "on"
    else:
        assert request.debts == set() and request.outcome is not None and str(request.error) == "full"
        assert [str(each) for each in lab.told] == ["full"]


@pytest.mark.parametrize("why", ["ended", "closed"])
def test_what_is_not_wanted_once_the_disk_has_it_is_not_done(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    lab.ask("reboot")
    step = lab.jobs[-1]

    def sync() -> None:
        if why == "ended":
            step.stage = Stage.ENDED
        else:
            lab.dispatcher._closed = True

    monkeypatch.setattr(lab.store, "sync", sync)
    assert not lab.begin() and not lab.acting() and step.ended and step.promised


def test_a_pdu_that_leaves_goes_once_what_it_had_was_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.ask("reboot")
    step = lab.jobs[-1]
    lab.dispatcher.reload(replace(lab.config, pdus={"b": lab.config.pdus["b"]}))
    assert "a" in lab.dispatcher._fleet.leaving
    refuse = [StoreError("full")]

    def sync() -> None:
        raise refuse.pop()

    monkeypatch.setattr(lab.store, "sync", sync)
    runner = lab.runners["a"]
    assert lab.dispatcher._begin(runner, step) is False
    assert "a" not in lab.runners and "a" not in lab.dispatcher._fleet.leaving


# Who tells of it.


@pytest.mark.parametrize(
    ("worker", "live", "lead", "expected"),
    [
        ("carried", 1, True, "nobody"),
        ("carried", 2, False, "nobody"),
        ("unaided", 1, True, "datagrams"),
        ("unaided", 2, False, "datagrams"),
        ("", 0, True, "itself"),
        ("", 1, True, "itself"),
        ("", 2, True, "who serves"),
        ("", 2, False, "itself"),
    ],
)
def test_who_tells_what_came_of_a_job(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, worker: str, live: int, lead: bool, expected: str
) -> None:
    if lead:
        lab.dispatcher.led_by(lab)  # type: ignore[arg-type]
    runner: Any = lab.runners["a"]
    runner.carried, runner.unaided = worker == "carried", worker == "unaided"
    monkeypatch.setattr(lab.dispatcher._lanes, "live", dict.fromkeys(range(live)))
    with lab.dispatcher._lock.bare:
        lab.dispatcher._lock.tell(lab.told.append, "so")
    lab.dispatcher._hand_in(runner)
    assert [lab.told, lab.woken, len(lab.soon)] == {
        "nobody": [[], 0, 0], "datagrams": [[], 0, 1], "itself": [["so"], 0, 0], "who serves": [[], 1, 0],
    }[expected]  # fmt: skip
    for call in lab.soon:
        call()
    assert lab.told == ["so"] or expected in ("nobody", "who serves") or lab.woken == 1


def test_without_that_thread_who_serves_tells_it(lab: Lab) -> None:
    lab.dispatcher.led_by(lab)  # type: ignore[arg-type]
    lab.refuses = True
    runner: Any = lab.runners["a"]
    runner.unaided = True
    with lab.dispatcher._lock.bare:
        lab.dispatcher._lock.tell(lab.told.append, "so")
    lab.dispatcher._hand_in(runner)
    assert (lab.told, lab.woken, lab.soon) == ([], 1, [])


# What came of it.


@pytest.mark.parametrize(("error", "outcome"), [(None, "done"), (DeviceError("refused"), "failed")])
def test_what_came_of_a_step_is_told_and_known(lab: Lab, error: DeviceError | None, outcome: str) -> None:
    request = lab.ask("on")
    lab.begin()
    lab.end(None, None, error)
    assert not lab.acting() and str(request.outcome and request.outcome.value) == outcome
    assert lab.told == [error] and lab.runners["a"].device.request == request.id
    known = lab.dispatcher.inventory.outlet(A)
    assert (known.state, known.source, known.time) == (
        State.ON if error is None else State.UNKNOWN,
        "commanded",
        lab.wall(),
    )
    pdu = lab.dispatcher.inventory.pdu("a")
    assert pdu is not None and pdu.reachable is (error is None) and pdu.trouble == ("refused" if error else "")


@pytest.mark.parametrize("state", [State.ON, State.OFF])
def test_what_came_of_a_question_is_told_and_known(lab: Lab, state: State) -> None:
    query = lab.look()
    lab.begin(query)
    lab.now += 2
    lab.end(query, state)
    assert lab.told == [Reading(state, "device", lab.wall())]
    known = lab.dispatcher.inventory.outlet(A)
    assert (known.state, known.source) == (state, "device") and lab.runners["a"].device.request == 0


def test_a_question_that_fails_is_told(lab: Lab) -> None:
    query = lab.look()
    lab.begin(query)
    error = DeviceError("a: no")
    lab.end(query, None, error)
    assert lab.told == [error] and not lab.acting()


def test_what_was_read_of_a_device_is_known(lab: Lab) -> None:
    survey = lab.survey()
    lab.begin(survey)
    survey.found = Found([], [], None)
    lab.end(survey)
    pdu = lab.dispatcher.inventory.pdu("a")
    assert pdu is not None and pdu.read == lab.wall() and pdu.reachable and not lab.acting()
    assert lab.dispatcher.surveys._pending == {} and lab.runners["a"].device.survey is None
    other = lab.survey("b")
    lab.begin(other)
    lab.end(other, None, TransientError("b: no"))
    pdu = lab.dispatcher.inventory.pdu("b")
    assert pdu is not None and pdu.read is None and pdu.reachable is False


def test_what_comes_back_after_the_end_is_for_the_next_start(lab: Lab) -> None:
    request = lab.ask("on")
    lab.begin()
    lab.dispatcher._closed = True
    lab.end()
    assert request.outcome is None and not lab.acting() and lab.runners["a"].device.request == 0


def test_what_asks_a_machine_to_shut_down_is_no_try(lab: Lab) -> None:
    request = lab.ask("on")
    step = lab.jobs[-1]
    step.order = Action.STATUS.value
    heard: list[tuple[Step, State | None]] = []
    lab.dispatcher._softoff.attempt_ended = lambda step, state, error: heard.append((step, state))  # type: ignore[method-assign]
    lab.begin()
    lab.end(step, State.ON)
    assert heard == [(step, State.ON)] and request.switched == {} and request.outcome is None


def test_a_pdu_that_leaves_goes_when_its_last_has_ended(lab: Lab) -> None:
    lab.ask("on")
    step, runner = lab.jobs[-1], lab.runners["a"]
    lab.begin()
    lab.dispatcher.reload(replace(lab.config, pdus={"b": lab.config.pdus["b"]}))
    assert "a" in lab.runners
    lab.dispatcher._end(runner, step, None, None)
    assert "a" not in lab.runners and "b" in lab.runners


# Stuck.


def test_an_action_is_looked_at_when_it_is_due_and_stuck_if_it_has_not_come_back(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    request = lab.ask("on")
    device = lab.runners["a"].device
    lab.begin()
    ((when, look),) = lab.later
    assert when == device.looked_at == 507.0 + STUCK_GRACE
    lab.later.clear()
    lab.now = when - 0.5
    look()
    assert device.stuck == "" and [each for each, _ in lab.later] == [when] and device.looked_at == when
    lab.later.clear()
    lab.now = when
    with lab.dispatcher._lock:
        look()
    assert device.stuck == "a" and lab.later == [] and device.looked_at == float("inf")
    assert caplog.messages == ["a: stuck: an action has not come back from the device"]
    (trouble,) = lab.told
    assert str(trouble) == "a: stuck: no answer, and it is not known whether the device acted"
    assert lab.dispatcher.summary() == "2 PDUs, 1 requests not ended, stuck: a"
    with lab.dispatcher._lock:
        look()
    assert len(caplog.messages) == 1, "it is stuck already"
    lab.end()
    assert device.stuck == "" and caplog.messages[1:] == ["a: the device came back, the PDU is not stuck any more"]
    told = [(each.pdu, each.state, each.reason) for each in lab.dispatcher.events.since(-1)[0] if each.kind == "pdu"]
    assert told[0] == ("a", "stuck", "an action has not come back from the device") and ("a", "ready", "") in told
    assert request.outcome is not None


def test_one_entry_of_the_timetable_is_enough_for_many_actions(lab: Lab) -> None:
    for _ in range(3):
        lab.ask("on")
        lab.begin()
        lab.end()
        lab.now += 1
    assert len(lab.later) == 1
    ((_, look),) = lab.later
    lab.later.clear()
    look()
    assert lab.later == [] and lab.runners["a"].device.stuck == "", "nothing acts"
    lab.ask("on")
    lab.begin()
    assert len(lab.later) == 1


def test_what_is_due_sooner_is_looked_at_sooner(lab: Lab) -> None:
    lab.ask("on")
    lab.begin()
    lab.end()
    runner: Any = lab.runners["a"]
    runner.pdu = lab.runners["a"].pdu
    lab.dispatcher._acts(runner.device, 1.0)
    assert [when for when, _ in lab.later] == [507.0 + STUCK_GRACE, 501.0 + STUCK_GRACE]
    lab.dispatcher._acts(runner.device, 3.0)
    assert len(lab.later) == 2


# The store.


def test_what_the_store_does_not_take_is_tried_again_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = lab.ask("on")

    def refuse() -> None:
        raise StoreError("full")

    lab.begin()
    with monkeypatch.context() as patched:
        patched.setattr(lab.store, "flush", refuse)
        lab.end()
    assert caplog.messages == ["what became of some requests is not on record: full"]
    assert caplog.records[0].levelno == logging.ERROR and lab.told == [None] and request.id in lab.store.noted
    assert lab.dispatcher.store == (MEMORY, False)
    when, again = lab.later[-1]
    assert when == 500.0 + WRITE_AGAIN
    with lab.dispatcher._lock:
        again()
    assert lab.store.noted == {} and lab.dispatcher.store == (MEMORY, True)


def test_what_was_told_before_is_known_to_drivers_where_it_is_on_record(make: Callable[..., Lab], lab: Lab) -> None:
    assert lab.runners["a"]._last_told is None
    kept = make(stored=True)
    kept.ask("off")
    kept.begin()
    kept.end()
    told = kept.runners["a"]._last_told
    assert told is not None and told("a") == {"1": (State.OFF, kept.wall())} and told("b") == {}


def test_what_cannot_be_cancelled_is_told_with_how_it_stands(lab: Lab) -> None:
    request = lab.ask("on")
    lab.begin()
    lab.end()
    with pytest.raises(PDUDaemonError, match=f"^request {request.id} cannot be cancelled: it is done$"):
        lab.dispatcher.cancel(request.id)
    other = lab.ask("on")
    lab.dispatcher.cancel(other.id)
    assert lab.store.noted == {} and lab.store.record(other.id)["state"] == "cancelled"


def test_without_a_clock_it_goes_by_that_of_the_machine(lab: Lab) -> None:
    store = Store(MEMORY)
    other = Dispatcher(lab.config, store)
    assert type(other._clock) is Clock and other.work() is None
    assert other._lanes._clock is other.inventory._clock is other._clock
    store.close()


def test_who_joins_late_is_told_of_the_request_that_lives(lab: Lab) -> None:
    """Though he has it from the store."""
    request = lab.ask("on")
    read = lab.store.request(request.id)
    heard: list[tuple[Request, object]] = []
    lab.dispatcher.join(read, lambda request, error: heard.append((request, error)))
    assert heard == [] and lab.dispatcher.so_far(request, 3.0) is not None
    lab.begin()
    lab.end()
    assert heard == [(request, None)] and lab.dispatcher.so_far(request, 3.0) is None
    read = lab.store.request(request.id)
    read.settled = True
    lab.dispatcher.join(read, lambda request, error: heard.append((request, error)))
    assert heard[1:] == [(read, None)]


def test_a_reload_holds_for_everybody(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For what was asked for, what is remembered, and what was waiting for a PDU that was disabled."""
    done: list[str] = []
    one = lab.dispatcher
    for name in ("end_impossible", "resume_kept"):
        monkeypatch.setattr(one._resumption, name, lambda name=name: done.append(f"{name} {'b' in one._fleet.runners}"))
    path = tmp_path / "other"
    daemon = {"history": 7, "history_days": 3, "give_up": 9}
    path.write_text(json.dumps({"daemon": daemon, "pdus": {"a": {"driver": "dummy", "timeout": 7}}}))
    config = reader.load(str(path))
    with one._lock.bare:
        one._lock.tell(lab.told.append, "so")
    one.reload(config)
    assert done == ["end_impossible True", "resume_kept True"], "which has not gone yet"
    assert (lab.store.history, lab.store.history_days, one._lanes.daemon.give_up) == (7, 3, 9)
    assert "b" not in one._fleet.runners and one._acceptance.config is one._queries.config is one.config
    assert one.inventory.pdu("b") is None and lab.told == ["so"]
    assert [each.kind for each in one.events.since(-1)[0]][-1] == "reload"


def test_a_store_that_cannot_be_written_at_a_cancel_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    request = lab.ask("on")

    def refuse(*_: object) -> None:
        raise StoreError("full")

    with monkeypatch.context() as patched:
        patched.setattr(lab.store, "_write", refuse)
        with pytest.raises(StoreError, match="full"):
            lab.dispatcher.cancel(request.id)
    assert request.outcome is not None
    lab.store.flush()


# The end.


class End:
    """What a dispatcher waits for as it ends: each wait does the next of the ``steps``; ``waits`` are for how long."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
        self.waits: list[float] = []
        self.joined: list[tuple[str, float]] = []
        self.closed: list[str] = []
        self.late: set[str] = set()
        end, one = self, lab.dispatcher
        left = [*steps]

        def wait(seconds: float) -> bool:
            end.waits.append(seconds)
            left.pop(0)()
            return True

        monkeypatch.setattr(one._came_back, "wait", wait)
        for worker in (one._timetable, *lab.runners.values()):

            def join(seconds: float, name: str = str(worker)) -> bool:
                end.joined.append((name, seconds))
                lab.now += 0.75
                return name not in end.late

            monkeypatch.setattr(worker, "join", join)

        def kill_all() -> int:
            end.closed.append("commands")
            return 0

        monkeypatch.setattr(command, "kill_all", kill_all)
        for name, runner in lab.runners.items():
            monkeypatch.setattr(runner.device, "close", lambda name=name: end.closed.append(name))
        monkeypatch.setattr(lab.store, "close", lambda: end.closed.append("store"))


def test_the_end_waits_for_what_acts_within_its_bound(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for anything else is told at once."""
    acting = lab.ask("on", A)
    lab.begin()
    step = lab.jobs[-1]
    waiting = lab.ask("on", A)

    def later() -> None:
        lab.now += 3

    def comes_back() -> None:
        assert len(lab.told) == 1 and "resumes it when it starts again" in str(lab.told[0])
        lab.dispatcher._lanes.attempt_ended(step, None)
        lab.dispatcher._acting.clear()

    end = End(lab, monkeypatch, later, comes_back)
    assert lab.dispatcher.stopping is False
    with monkeypatch.context() as patched:
        patched.setattr(lab.dispatcher._lock, "settle", settle_now(lab))
        absent, owed = lab.dispatcher.close(10.0, lambda: end.closed.append("last words"))
    assert end.waits == [10.0, 7.0] and lab.dispatcher.stopping is True and lab.dispatcher._closed
    assert (absent, owed) == ([], []) and acting.outcome is not None and waiting.outcome is None
    assert end.closed == ["commands", "a", "b", "last words", "store"]


def settle_now(lab: Lab) -> Callable[..., None]:
    """Return a way to settle requests that tells who waits at once, as the lock is not given back in between."""

    def settle(request: Request, trouble: PDUDaemonError | None = None) -> None:
        type(lab.dispatcher._lock).settle(lab.dispatcher._lock, request, trouble)
        calls = lab.dispatcher._lock._calls
        while calls:
            call, words = calls.popleft()
            call(*words)

    return settle


@pytest.mark.parametrize("bound", [0.0, 5.0])
def test_the_end_does_not_wait_beyond_its_bound(lab: Lab, monkeypatch: pytest.MonkeyPatch, bound: float) -> None:
    lab.ask("on", A)
    lab.begin()
    end = End(lab, monkeypatch, lambda: setattr(lab, "now", lab.now + 4), lambda: setattr(lab, "now", lab.now + 1))
    lab.runners["a"].device.lock.acquire()
    end.late = {"the worker of a"}
    assert lab.dispatcher.close(bound) == (["the worker of a"], [])
    assert end.waits == ([] if not bound else [5.0, 1.0])
    assert [str(each) for each in lab.told] == [
        "accepted as request 1, but not done: the daemon is stopping, and resumes it when it starts again"
    ]
    assert end.joined == [("the timetable", 1.0), ("the worker of a", 0.25), ("the worker of b", 0.0)]
    assert end.closed == ["commands", "b", "store"], "who acts has its device still"


@pytest.mark.parametrize("kind", ["question", "survey"])
def test_the_end_waits_for_a_question_and_not_for_a_survey(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    lab.begin(lab.look() if kind == "question" else lab.survey())
    pending = lab.look(B)
    end = End(lab, monkeypatch, lab.dispatcher._acting.clear)
    lab.dispatcher.close(5.0)
    assert len(end.waits) == (kind == "question")
    assert [str(each) for each in lab.told] == ["the daemon is stopping"] and pending.askers == []


def test_what_is_owed_beyond_the_bound_is_logged_and_returned(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = lab.ask("on", A, B)
    request.debts.add(B)
    End(lab, monkeypatch)
    monkeypatch.setattr(command, "kill_all", lambda: 2)
    _, owed = lab.dispatcher.close(0.0)
    assert owed == [f"{request}: b port 1 is to be switched on in 0 s, at the next start"]
    assert caplog.messages[-2:] == [*owed, "2 commands were still running and have been killed"]
    assert [each.levelname for each in caplog.records[-2:]] == ["WARNING"] * 2


@pytest.mark.parametrize("refuses", [True, False])
def test_the_end_writes_what_there_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refuses: bool
) -> None:
    request = lab.ask("on", A)
    End(lab, monkeypatch)
    flushed: list[bool] = []

    def flush() -> None:
        flushed.append(lab.dispatcher._closed)
        if refuses:
            raise StoreError("full")

    monkeypatch.setattr(lab.store, "flush", flush)
    lab.dispatcher.close(0.0)
    assert flushed == [True] and request.outcome is None
    assert caplog.messages == ["what became of some requests is not on record: full"] * refuses


def test_each_worker_is_told_to_stop(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    End(lab, monkeypatch)
    lab.dispatcher.close(0.0)
    assert lab.dispatcher._timetable._stopping and all(runner._stopped for runner in lab.runners.values())
    assert lab.dispatcher.sites is not None and lab.dispatcher._fleet.closing


def test_a_cancel_or_a_comeback_is_looked_at_as_the_daemon_ends(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(lab.dispatcher._came_back, "notify_all", lambda: told.append(lab.dispatcher._lock.locked()))
    lab.dispatcher.cancel(lab.ask("on", A).id)
    assert told == [True]
    lab.ask("on", A)
    lab.begin()
    lab.end()
    assert told == [True]
    lab.ask("on", A)
    lab.begin()
    lab.dispatcher._fleet.closing = True
    lab.end()
    assert told == [True, True]


def test_what_the_store_has_is_taken_up_at_the_start(make: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make(stored=True)
    request = lab.ask("off", A)
    done: list[object] = []
    one = lab.dispatcher
    monkeypatch.setattr(one._resumption, "resume", lambda request: done.append(request.id))
    monkeypatch.setattr(one.inventory, "remember", lambda told: done.append(told))
    monkeypatch.setattr(one.surveys, "change", lambda config: done.append(config is one.config))
    monkeypatch.setattr(one._timetable, "start", lambda: done.append(one._lock.locked()))
    one.start()
    assert done == [request.id, {}, True, False]


def test_a_reload_is_for_those_that_are_staggered_or_read_as_well(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "other"
    pdus = {"a": {"driver": "dummy", "timeout": 7, "stagger": 5, "poll": 60}, "b": {"driver": "dummy", "timeout": 9}}
    path.write_text(json.dumps({"pdus": pdus}))
    config = reader.load(str(path))
    assert not lab.dispatcher._stagger.is_set and lab.later == []
    lab.dispatcher.reload(config)
    assert lab.dispatcher._stagger.is_set and [*lab.dispatcher.surveys._polls] == ["a"]


def test_who_leads_is_woken_and_carries(lab: Lab) -> None:
    leader: Any = lab
    lab.dispatcher.led_by(leader)
    assert lab.dispatcher._carrier.leader is leader and lab.dispatcher._lock.wake == lab.wake
    lab.dispatcher.led_by(None)
    assert lab.dispatcher._carrier.leader is None is lab.dispatcher._lock.wake


def test_a_reboot_under_way_can_be_hurried(lab: Lab) -> None:
    request = lab.ask("reboot", A)
    request.delay = 5.0
    lab.dispatcher.hurry(request)
    assert request.delay == 0.0


def test_what_others_ask_is_of_the_same_house(lab: Lab) -> None:
    one = lab.dispatcher
    request = lab.ask("on", A)
    assert one.record(request.id)["id"] == request.id and [each["id"] for each in one.records(5)] == [request.id]
    assert one.live_figures().unended == 1 and [each["name"] for each in one.snapshot()] == ["a", "b"]
    assert [each["name"] for each in one.each_pdu()] == [each["name"] for each in one.every_pdu()] == ["a", "b"]
    assert "the timetable" in str(one.pulse(30))
    assert one.patience(lab.config.target("b", "1")) == 9
