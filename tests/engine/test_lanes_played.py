# SPDX-License-Identifier: MIT
"""`Lanes` step by step, by clocks that the test sets, with nobody who acts: what is sent when, noted, told and logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.engine import debts, lanes
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.lanes import Lanes
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import DeviceError, PDUDaemonError, PermanentError, StoreError, TransientError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, Soft, Stage, State, Step, Target

A, A2, B = Outlet("a", "1"), Outlet("a", "2"), Outlet("b", "1")
WALL = 1_000_000.0


class Table:
    """What the timetable is given; ``due`` makes the calls of one moment."""

    def __init__(self) -> None:
        self.entries: dict[Any, tuple[float, Callable[[], None]]] = {}

    def at(self, when: float, call: Callable[[], None]) -> Any:
        table = self

        class Entry:
            def cancel(self) -> None:
                table.entries.pop(self, None)

        entry = Entry()
        self.entries[entry] = when, call
        return entry

    @property
    def times(self) -> list[float]:
        return sorted(when for when, _ in self.entries.values())

    def due(self, now: float) -> None:
        for entry, (when, call) in [*self.entries.items()]:
            if when <= now and entry in self.entries:
                del self.entries[entry]
                call()


class Lab(Clock):
    """Lanes of two PDUs. ``sent`` are the steps that their workers were given, ``noted`` what was noted of requests."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, daemon: dict[str, Any], **pdu: Any) -> None:
        self.boot = "boot"
        self.now = 500.0
        path = folder / "conf"
        pdus = {name: {"driver": "dummy", "retries": 3, "retrydelay": 7, "timeout": 5, **pdu} for name in "ab"}
        path.write_text(json.dumps({"daemon": daemon, "pdus": pdus}))
        self.dispatcher = Dispatcher(reader.load(str(path)), Store(MEMORY), clock=self)
        monkeypatch.setattr(lanes, "time", type("Time", (), {"monotonic": lambda: self.now}))
        monkeypatch.setattr(debts, "time", type("Time", (), {"monotonic": lambda: self.now}))
        self.lanes: Lanes = self.dispatcher._lanes
        self.table = Table()
        self.lanes._timetable = self.table  # type: ignore[assignment]
        self.sent: list[Step] = []
        for runner in self.dispatcher._fleet.runners.values():
            monkeypatch.setattr(runner, "put", self.sent.append)
        self.noted: list[int] = []
        self.store = self.lanes._store
        note = self.store.note

        def noting(request: Request) -> None:
            self.noted.append(request.id)
            note(request)

        monkeypatch.setattr(self.store, "note", noting)
        self.told: list[tuple[int, str | None]] = []
        self.bare = self.dispatcher._lock.bare
        self.bare.acquire()

    def wall(self) -> float:
        return WALL + self.now

    def uptime(self) -> float:
        return 100.0 + self.now

    def ask(self, action: str, *outlets: Outlet, delay: float = 0.0, phase: str = "", **more: Any) -> Request:
        """Have a request enter its lanes, as one that is on record."""
        request = self.make(action, *outlets, delay=delay, phase=phase, **more)
        self.store.add_all([request])
        self.lanes.enter([request], {})
        return request

    def make(self, action: str, *outlets: Outlet, delay: float = 0.0, phase: str = "", **more: Any) -> Request:
        outlets = outlets or (A,)
        first = phase or ("off" if action == "reboot" else action)
        more.setdefault("accepted_uptime", self.uptime())
        target = Target(" and ".join(map(str, outlets)), outlets)
        request = Request(Action(action), target, delay, "a client", WALL, Phase(first), remaining=[*outlets], **more)
        request.waiters.append(
            lambda request, error: self.told.append((request.id, None if error is None else str(error)))
        )
        return request

    def take_over(self, action: str, *outlets: Outlet, **more: Any) -> Request:
        """Have a request enter as any that is asked for, which may take debts over."""
        request = self.make(action, *outlets, **more)
        found = self.lanes.take_over([request])
        self.store.add_all([request])
        self.lanes.enter([request], found)
        return request

    def take(self) -> list[tuple[str, str, str]]:
        """Return what was sent since the last time: outlet, action and order."""
        sent, self.taken = self.sent[:], self.sent[:]
        self.sent.clear()
        return [(str(step.outlet), step.action.value, step.order) for step in sent]

    def begin(self, number: int = 0) -> bool:
        """Have one of those begin that were taken last."""
        return self.lanes.begin(self.taken[number])

    def end(self, error: DeviceError | None = None, number: int = 0) -> None:
        self.lanes.attempt_ended(self.taken[number], error)

    def act(self, error: DeviceError | None = None, number: int = 0) -> bool:
        """Have one of those that were taken last begin and end."""
        promise = self.begin(number)
        self.end(error, number)
        return promise

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.table.due(self.now)

    def clients(self) -> list[tuple[int, str | None]]:
        """Return who has been told what since the last time."""
        calls = self.dispatcher._lock._calls
        while calls:
            call, words = calls.popleft()
            call(*words)
        told, self.told = self.told, []
        return told

    def kinds(self) -> list[str]:
        """Return the kinds of what was published."""
        return [each.kind for each in self.dispatcher.events.since(-1)[0]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def lab(daemon: dict[str, Any] | None = None, **pdu: Any) -> Lab:
        made.append(Lab(tmp_path, monkeypatch, daemon or {}, **pdu))
        return made[-1]

    yield lab
    for each in made:
        each.bare.release()
        each.store.close()


@pytest.fixture
def lab(make: Callable[..., Lab]) -> Lab:
    return make()


ON_A, OFF_A, REBOOT_A = (("a port 1", each, each) for each in ("on", "off", "reboot"))


def test_what_is_live_is_counted_by_pdu_and_address(lab: Lab) -> None:
    both = lab.ask("on", A, A2, B, address="10.0.0.1")
    other = lab.ask("off", A)
    assert lab.lanes.live == {both.id: both, other.id: other}
    assert dict(lab.lanes.load) == {"a": 2, "b": 1}
    assert dict(lab.lanes.load_from) == {("10.0.0.1", "a"): 1, ("10.0.0.1", "b"): 1}
    more = lab.ask("off", A, address="10.0.0.1")
    assert lab.lanes.load["a"] == 3 and lab.lanes.load_from["10.0.0.1", "a"] == 2
    assert lab.lanes.find(both.id) is both and lab.lanes.find(99) is None
    lab.lanes.finish(both, Outcome.DONE, None)
    assert dict(lab.lanes.load) == {"a": 2, "b": 0} and dict(lab.lanes.load_from) == {("10.0.0.1", "a"): 1}
    lab.lanes.finish(more, Outcome.DONE, None)
    assert lab.lanes.load["a"] == 1 and dict(lab.lanes.load_from) == {} and [*lab.lanes.live] == [other.id]
    lab.lanes.kept[7] = both
    assert lab.lanes.find(7) is both


@pytest.mark.parametrize(
    ("action", "phase", "more", "when", "sent"),
    [
        ("on", "", {}, 0.0, [ON_A]),
        ("on", "", {"delay": 5.0}, 5.0, [ON_A]),
        ("off", "", {"delay": 5.0, "accepted_uptime": 598.0}, 3.0, [OFF_A]),
        ("on", "", {"delay": 5.0, "accepted_uptime": 590.0}, -5.0, [ON_A]),
        ("on", "", {"delay": 5.0, "accepted_uptime": 700.0}, 5.0, [ON_A]),  # the clock was set back
        ("reboot", "off", {"delay": 5.0}, 0.0, [OFF_A]),
        ("reboot", "restart", {"delay": 5.0}, 0.0, [REBOOT_A]),
        ("reboot", "on", {"delay": 5.0, "off_ended_uptime": 599.0}, 4.0, [ON_A]),
        ("reboot", "on", {"delay": 5.0, "off_ended_uptime": 700.0}, 5.0, [ON_A]),
        ("reboot", "on", {"delay": 5.0}, 0.0, [ON_A]),
    ],
)
def test_each_is_sent_when_its_delay_is_over(
    lab: Lab, action: str, phase: str, more: dict[str, Any], when: float, sent: list[tuple[str, str, str]]
) -> None:
    request = lab.ask(action, A, phase=phase, **more)
    assert request.begun and request.steps[0].at == 500.0 + when
    if when > 0:
        assert lab.sent == [] and lab.table.times == [500.0 + when]
        assert request.steps[0].timer is not None and request.steps[0].stage is Stage.QUEUED
        lab.pass_by(when - 0.5)
        assert lab.sent == []
        lab.pass_by(0.5)
        assert request.steps[0].timer is None and lab.table.times == []
    assert lab.take() == sent


def test_offs_are_sent_at_once_and_ons_one_after_the_other(lab: Lab) -> None:
    lab.ask("off", A, A2, B)
    assert [each[0] for each in lab.take()] == ["a port 1", "a port 2", "b port 1"]
    for number in (1, 0, 2):
        lab.act(number=number)
    request = lab.ask("on", A, A2, B)
    assert [step.stage for step in request.steps] == [Stage.QUEUED, Stage.PLANNED, Stage.PLANNED]
    for name in ("a port 1", "a port 2", "b port 1"):
        assert [each[0] for each in lab.take()] == [name]
        lab.act(PermanentError("refused") if name == "a port 2" else None)
    assert lab.take() == [] and request.outcome is Outcome.FAILED and str(request.error) == "refused"


def test_the_next_is_sent_though_the_one_before_is_tried_again(lab: Lab) -> None:
    lab.ask("on", A, B)
    assert lab.take() == [ON_A]
    lab.act(TransientError("not now"))
    assert lab.take() == [("b port 1", "on", "on")] and lab.table.times == [507.0]


def test_who_stands_behind_another_begins_when_that_has_gone(lab: Lab) -> None:
    first = lab.ask("on", A)
    second = lab.ask("off", A, B)
    third = lab.ask("on", B)
    assert lab.take() == [ON_A] and not second.begun and not third.begun
    assert lab.lanes.ahead(first) is None and lab.lanes.ahead(second) is first and lab.lanes.ahead(third) is second
    lab.act()
    assert [each[0] for each in lab.take()] == ["a port 1", "b port 1"] and second.begun
    lab.act()
    assert not third.begun and second.remaining == [B]
    lab.act(number=1)
    assert lab.take() == [("b port 1", "on", "on")]
    lab.act()
    assert lab.lanes._lanes == {} and lab.lanes.live == {} and dict(lab.lanes.load) == {"a": 0, "b": 0}


def test_who_has_begun_does_not_begin_again(lab: Lab) -> None:
    request = lab.ask("on", A)
    steps = request.steps
    lab.lanes.advance(request)
    assert request.steps is steps and len(lab.sent) == 1


def test_only_what_is_asked_to_shut_down_is_not_switched_at_once(lab: Lab) -> None:
    lab.ask("off", A, A2, soft=Soft(60.0, became={A2: "shut down"}))
    assert lab.take() == [("a port 1", "off", "status"), ("a port 2", "off", "off")]
    lab.ask("on", B, soft=Soft(60.0))
    assert lab.take() == [("b port 1", "on", "on")]


# Before it acts.


@pytest.mark.parametrize(
    ("action", "phase", "promise"),
    [
        ("on", "on", False),
        ("off", "off", False),
        ("reboot", "off", True),
        ("reboot", "restart", True),
        ("reboot", "on", False),
    ],
)
def test_the_disk_has_the_record_before_an_off_that_an_on_follows(
    lab: Lab, action: str, phase: str, promise: bool
) -> None:
    request = lab.ask(action, A, phase=phase)
    lab.take()
    assert request.started is None
    assert lab.begin() is promise
    (step,) = lab.taken
    assert step.stage is Stage.RUNNING and step.attempts == 1 and request.started == WALL + 500
    assert lab.kinds() == ["accepted", "begun"] and lab.noted == []
    step.promised = True
    lab.now += 5
    assert lab.begin() is False
    assert step.attempts == 2 and request.started == WALL + 500 and lab.kinds() == ["accepted", "begun"]


def test_an_off_that_was_asked_for_is_no_debt_any_more(lab: Lab) -> None:
    request = lab.ask("off", A, B, debts={A})
    lab.take()
    assert lab.begin(0) is False and request.debts == set() and lab.noted == [request.id]
    assert lab.begin(1) is False and lab.noted == [request.id], "of which there is nothing to note"


def test_one_that_only_pays_a_debt_is_neither_begun_nor_promised(lab: Lab) -> None:
    lab.ask("on", B)
    request = lab.ask("off", A, B, debts={A})
    assert [each[0] for each in lab.take()] == ["b port 1", "a port 1"]
    assert lab.taken[1].repair and lab.begin(1) is False
    assert request.started is None and "begun" not in lab.kinds() and lab.taken[1].attempts == 1


# What follows a try.


@pytest.mark.parametrize(
    ("action", "error", "state"),
    [
        ("on", None, State.ON),
        ("off", None, State.OFF),
        ("on", PermanentError("no"), State.UNKNOWN),
        ("off", PermanentError("no"), State.UNKNOWN),
    ],
)
def test_what_an_outlet_was_told_is_remembered(lab: Lab, action: str, error: DeviceError | None, state: State) -> None:
    request = lab.ask(action, A)
    lab.take()
    lab.begin()
    lab.now += 3
    lab.end(error)
    assert lab.store.last_told(A) == (state, WALL + 503) and request.switched == {A: (state, WALL + 503)}
    assert request.ended == WALL + 503 and request.outcome is (Outcome.FAILED if error else Outcome.DONE)
    assert lab.taken[0].error is error and request.error is error
    assert lab.kinds() == ["accepted", "begun", "tried", "ended"]
    assert lab.clients() == [(request.id, str(error) if error else None)]


def test_what_may_pass_is_tried_so_often_with_a_pause(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    request = lab.ask("on", A)
    for number in (1, 2):
        assert lab.take() == [ON_A]
        lab.act(TransientError("not now"))
        assert lab.sent == [] and lab.table.times == [lab.now + 7] and request.ended is None
        assert caplog.messages[-1] == f"{request}: try {number} of 3 failed: not now"
        lab.pass_by(7)
    assert lab.take() == [ON_A]
    lab.act(TransientError("not now"))
    assert lab.table.times == [] and request.outcome is Outcome.FAILED and len(caplog.messages) == 3
    assert lab.clients() == [(request.id, "not now")]


def test_what_does_not_pass_is_tried_once(lab: Lab) -> None:
    request = lab.ask("on", A)
    lab.take()
    lab.act(PermanentError("no such port"))
    assert request.outcome is Outcome.FAILED and lab.table.times == []


@pytest.mark.parametrize(("action", "owed"), [("on", False), ("off", True)])
def test_what_was_switched_though_it_had_ended_is_noted(lab: Lab, action: str, owed: bool) -> None:
    """An on has paid what was owed, and nothing follows."""
    request = lab.ask(action, A)
    lab.take()
    lab.begin()
    lab.taken[0].stage = Stage.ENDED
    request.debts.add(A)
    lab.noted.clear()
    lab.end()
    assert lab.noted == [request.id] and request.ended is None
    assert request.debts == ({A} if owed else set())


def test_what_was_not_switched_though_it_had_ended_is_owed_still(lab: Lab) -> None:
    request = lab.ask("on", A)
    lab.take()
    lab.begin()
    lab.taken[0].stage = Stage.ENDED
    request.debts.add(A)
    lab.end(TransientError("no"))
    assert request.debts == {A} and request.switched[A][0] is State.UNKNOWN


# A reboot.


def test_a_reboot_is_off_then_on_when_its_delay_is_over(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    request = lab.ask("reboot", A, B, delay=10.0)
    assert [each[1] for each in lab.take()] == ["off", "off"]
    for number in (0, 1):
        request.debts.add(lab.taken[number].outlet)
    lab.act(number=0)
    assert request.phase.value == "off" and lab.noted == [request.id] and lab.table.times == []
    lab.now += 2
    lab.act(number=1)
    assert request.phase is Phase.ON and request.debts == {A, B} and request.remaining == [A, B]
    assert (request.off_ended, request.off_ended_uptime) == (WALL + 502, 602.0)
    assert lab.noted == [request.id] * 2 and lab.table.times == [512.0] and lab.clients() == []
    assert lab.lanes.owed() and lab.take() == []
    lab.now += 10
    lab.table.due(lab.now)
    assert lab.take() == [ON_A] and [step.action for step in request.steps] == [Action.ON] * 2
    lab.act()
    assert request.debts == {B} and request.remaining == [B] and lab.noted == [request.id] * 3
    assert lab.take() == [("b port 1", "on", "on")]
    lab.act()
    assert request.outcome is Outcome.DONE and request.debts == set() and request.steps == [] == request.repairs
    assert caplog.messages == [f"{request} for a client done after 12.0 s"]
    assert vars(caplog.records[0])["request"] is request


def test_a_feed_whose_off_failed_is_not_switched_on_unless_it_may_be_off(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    request = lab.ask("reboot", A, A2, B, delay=10.0)
    behind = lab.ask("on", A2)
    lab.take()
    request.debts |= {A, B}
    lab.act(PermanentError("refused"), 0)
    lab.act(PermanentError("no such port"), 1)
    lab.act(None, 2)
    assert caplog.messages == [
        f"{request}: the off failed, the on follows all the same: refused",
        f"{request}: the off failed, the port was not touched: no such port",
    ]
    assert [each.levelname for each in caplog.records] == ["ERROR"] * 2
    assert request.remaining == [A, B] and request.phase is Phase.ON
    assert lab.take() == [("a port 2", "on", "on")] and behind.begun, "it is in nobody's way any more"
    lab.pass_by(10)
    for _ in range(2):
        lab.take()
        lab.act()
    assert request.outcome is Outcome.FAILED and str(request.error) == "refused; no such port"
    assert {str(outlet): str(error) for outlet, error in request.results.items()} == {
        "a port 1": "refused", "a port 2": "no such port", "b port 1": "None",
    }  # fmt: skip


def test_a_reboot_of_which_no_off_could_be_done_ends(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    request = lab.ask("reboot", A)
    lab.take()
    lab.act(PermanentError("no such port"))
    assert request.outcome is Outcome.FAILED and lab.table.times == [] == lab.sent
    assert caplog.messages[-1] == f"{request} for a client failed after 0.0 s: no such port"
    assert caplog.records[-1].levelname == "WARNING"


def test_an_off_that_the_disk_does_not_take_ends_and_the_next_is_sent(lab: Lab) -> None:
    request = lab.ask("on", A, B)
    lab.take()
    lab.begin()
    lab.lanes.refuse(lab.taken[0], StoreError("full"))
    assert lab.take() == [("b port 1", "on", "on")] and str(request.error) == "full"
    lab.lanes.refuse(lab.taken[0], StoreError("full"))
    assert request.outcome is Outcome.FAILED
    lab.lanes.refuse(lab.taken[0], StoreError("again"))
    assert str(request.error) == "full", "it had ended"


# The end.


@pytest.mark.parametrize(
    ("outcome", "error", "soft", "level", "said"),
    [
        (Outcome.DONE, None, None, None, ("INFO", "done after 4.5 s")),
        (
            Outcome.DONE,
            None,
            Soft(1.0, became={A: "shut down by itself"}),
            None,
            ("INFO", "done after 4.5 s: shut down by itself"),
        ),
        (
            Outcome.FAILED,
            PermanentError("no"),
            Soft(1.0, became={A: "shut down"}),
            None,
            ("WARNING", "failed after 4.5 s: no"),
        ),
        (Outcome.CANCELLED, None, None, None, ("WARNING", "cancelled after 4.5 s")),
        (Outcome.CANCELLED, None, None, logging.ERROR, ("ERROR", "cancelled after 4.5 s")),
    ],
)
def test_the_end_is_noted_told_and_logged(
    lab: Lab,
    caplog: pytest.LogCaptureFixture,
    outcome: Outcome,
    error: PDUDaemonError | None,
    soft: Soft | None,
    level: int | None,
    said: tuple[str, str],
) -> None:
    caplog.set_level(logging.INFO)
    request = lab.ask("off", A, B)
    request.soft = soft
    request.debts.add(A)
    lab.take()
    steps = [*request.steps]
    lab.now += 4.5
    lab.lanes.finish(request, outcome, error, level)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        (said[0], f"{request} for a client {said[1]}")
    ]
    assert (request.ended, request.outcome, request.error) == (WALL + 504.5, outcome, error)
    assert request.debts == set() and request.remaining == [] == request.steps
    assert lab.noted == [request.id] and lab.kinds() == ["accepted", "ended"]
    assert [step.stage for step in steps] == [Stage.ENDED] * 2 and lab.lanes._lanes == {}
    assert lab.clients() == [(request.id, None if error is None else "no")]


def test_the_end_cancels_what_was_to_come(lab: Lab) -> None:
    request = lab.ask("on", A, delay=5.0)
    assert lab.table.times == [505.0]
    lab.lanes.finish(request, Outcome.CANCELLED, None)
    assert lab.table.times == []


def test_one_that_stands_in_no_lane_can_end(lab: Lab) -> None:
    """As one that is kept since its PDU is disabled."""
    request = lab.make("on", A)
    request.id = 9
    assert lab.lanes.ahead(request) is None
    other = lab.ask("on", A)
    lab.lanes.finish(request, Outcome.FAILED, None)
    assert dict(lab.lanes.load) == {"a": 1} and lab.lanes.ahead(request) is None and other.begun


# Debts.


def owing(lab: Lab, *outlets: Outlet, delay: float = 0.0) -> Request:
    """Return a reboot whose ons are to come."""
    request = lab.ask("reboot", *(outlets or (A,)), delay=delay)
    lab.take()
    for number, step in enumerate([*lab.taken]):
        request.debts.add(step.outlet)
        lab.act(number=number)
    return request


def failing(lab: Lab, *outlets: Outlet) -> Request:
    """Return a reboot whose first on has failed all its tries."""
    request = owing(lab, *outlets)
    for _ in range(3):
        lab.take()
        lab.act(TransientError("refused"))
        lab.pass_by(7) if lab.table.times == [lab.now + 7] else None
    return request


def test_an_on_that_is_owed_is_tried_again_and_again(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    request = failing(lab)
    assert request.ended is None and request.debts == {A} and lab.table.times == [lab.now + 30]
    assert caplog.messages == [f"{request}: a port 1 may be off, on is tried again in 30 s: refused"]
    assert caplog.records[0].levelname == "ERROR"
    assert lab.clients() == [(request.id, "refused; the port may be off, on is tried again")]
    lab.pass_by(29.5)
    assert lab.take() == []
    lab.pass_by(0.5)
    assert lab.take() == [ON_A]
    lab.act()
    assert request.outcome is Outcome.DONE and request.error is None and lab.lanes.owed() == []


def test_what_is_private_in_why_is_told_to_who_asked(lab: Lab) -> None:
    error = PermanentError("refused", private="by the guard")
    request = owing(lab)
    lab.take()
    lab.act(error)
    assert request.trouble is not None and request.trouble.private == "by the guard"
    assert type(request.trouble) is PermanentError


def test_an_on_that_is_owed_is_given_up_with_a_cry(make: Callable[..., Lab], caplog: pytest.LogCaptureFixture) -> None:
    lab = make({"give_up": 60})
    request = failing(lab)
    for _ in range(2):
        lab.pass_by(30)
        for _ in range(3):
            lab.take()
            lab.act(TransientError("refused"))
            lab.now += 7
            lab.table.due(lab.now) if lab.table.times == [lab.now] else None
        if request.ended:
            break
    assert request.outcome is Outcome.GIVEN_UP and request.debts == set()
    cries = [each.getMessage() for each in caplog.records if each.levelname == "CRITICAL"]
    assert cries == [f"{request} given up: a port 1 MAY BE OFF: refused"]


def test_an_on_that_is_owed_is_handed_to_who_waits_behind(lab: Lab) -> None:
    request = owing(lab)
    later = lab.ask("off", A)
    lab.noted.clear()
    for _ in range(3):
        lab.take()
        lab.act(TransientError("refused"))
        lab.pass_by(7) if lab.table.times else None
    assert request.outcome is Outcome.SUPERSEDED and str(request.error) == f"superseded by request {later.id}"
    assert later.debts == {A} and later.begun and later.id in lab.noted
    assert lab.take() == [OFF_A]
    lab.act()
    assert later.outcome is Outcome.DONE and later.debts == set()


def test_a_debt_between_two_tries_is_taken_over_at_once(lab: Lab) -> None:
    request = failing(lab)
    later = lab.take_over("on", A, delay=60.0)
    assert request.outcome is Outcome.SUPERSEDED and lab.noted[-1:] != [] and later.debts == {A}
    assert lab.take() == [ON_A] and lab.table.times == [], "at once, whatever delay that has"
    lab.act()
    assert later.outcome is Outcome.DONE


def test_of_two_the_first_takes_a_debt_over(lab: Lab) -> None:
    failing(lab)
    first, second = lab.make("on", A), lab.make("off", A)
    found = lab.lanes.take_over([first, second])
    assert {outlet: request for outlet, (_, request) in found.items()} == {A: first}
    assert first.debts == {A} and second.debts == set()
    other = lab.make("on", B, A2)
    assert lab.lanes.take_over([other]) == {} and other.debts == set()


def test_a_debt_of_who_acts_just_now_is_not_taken_over(lab: Lab) -> None:
    failing(lab)
    lab.pass_by(30)
    lab.take()
    lab.begin()
    later = lab.make("on", A)
    assert lab.lanes.take_over([later]) == {} and later.debts == set()


def test_a_debt_that_is_tried_again_while_who_takes_it_over_is_written_stays_where_it_is(lab: Lab) -> None:
    request = failing(lab)
    later = lab.make("on", A)
    found = lab.lanes.take_over([later])
    lab.pass_by(30)
    lab.take()
    lab.begin()
    lab.store.add_all([later])
    lab.noted.clear()
    lab.lanes.enter([later], found)
    assert later.debts == set() and lab.noted == [later.id] and request.debts == {A} and not later.begun


def test_until_it_can_be_settled_a_debt_is_kept_up_besides(lab: Lab) -> None:
    """By who took it over, while that waits for other outlets, or for its delay."""
    failing(lab)
    lab.ask("on", B)
    lab.take()
    waits = lab.take_over("off", A, B)
    assert lab.take() == [ON_A] and lab.taken[0].repair and waits.debts == {A} and not waits.begun
    lab.noted.clear()
    lab.act()
    assert waits.debts == set() and waits.repairs == [] and lab.noted == [waits.id] and not waits.begun


def test_a_debt_is_kept_up_once_and_not_while_it_is_settled(lab: Lab) -> None:
    failing(lab)
    delayed = lab.take_over("off", A, delay=60.0)
    assert lab.take() == [ON_A] and lab.taken[0].repair and delayed.begun
    lab.lanes._repair(delayed)
    assert lab.take() == []
    lab.taken = [*delayed.repairs]
    lab.pass_by(60)
    assert lab.take() == [OFF_A] and delayed.repairs == [], "what it does itself takes the place of that"
    lab.lanes._repair(delayed)
    assert lab.take() == []


def test_a_repair_that_fails_is_kept_up_and_not_told(lab: Lab) -> None:
    failing(lab)
    delayed = lab.take_over("off", A, delay=600.0)
    lab.clients()
    behind = lab.ask("on", A)
    for _ in range(3):
        assert lab.take() == [ON_A]
        lab.act(TransientError("refused"))
        lab.pass_by(7) if lab.now + 7 in lab.table.times else None
    assert lab.clients() == [] and delayed.repairs and delayed.ended is None and lab.now + 30 in lab.table.times
    assert behind.debts == set() and delayed.debts == {A}


def test_a_repair_that_is_given_up_ends_only_itself(make: Callable[..., Lab], caplog: pytest.LogCaptureFixture) -> None:
    lab = make({"give_up": 0})
    failing(lab)
    assert lab.lanes.live == {}
    delayed = lab.ask("off", A, delay=600.0, debts={A})
    for _ in range(3):
        lab.take()
        lab.act(TransientError("refused"))
        lab.pass_by(7) if lab.now + 7 in lab.table.times else None
    assert delayed.outcome is None and delayed.repairs == [] and delayed.debts == set() and delayed.ended is None
    assert "MAY BE OFF" in caplog.messages[-1]


def test_who_is_not_at_the_head_of_a_lane_keeps_nothing_up_there(lab: Lab) -> None:
    lab.ask("on", A)
    lab.take()
    lab.ask("off", A, B, debts={A})
    assert lab.take() == []


def test_only_a_repair_of_that_outlet_is_dropped(lab: Lab) -> None:
    request = lab.make("off", A, B)
    request.repairs = [Step(request, outlet, Action.ON, "on", repair=True) for outlet in (A, B)]
    one, other = request.repairs
    lab.lanes.drop_repair(request, A)
    assert request.repairs == [other] and one.ended and not other.ended


def test_what_is_sent_anew_is_not_sent_twice(lab: Lab) -> None:
    request = lab.ask("on", A, delay=60.0)
    (step,) = request.steps
    lab.lanes.send_at(step, lab.now + 5)
    assert lab.table.times == [505.0] and step.at == 505.0
    lab.lanes.send_at(step, lab.now)
    assert lab.table.times == [] and len(lab.sent) == 1 and step.timer is None


# Staggered.


def test_ons_of_a_pdu_come_one_after_the_other(make: Callable[..., Lab]) -> None:
    lab = make(stagger=5)
    first, second, third = (lab.ask("on", each) for each in (A, A2, Outlet("a", "3")))
    assert lab.take() == [ON_A] and not first.steps[0].staggered
    assert lab.table.times == [505.0, 510.0] and second.steps[0].staggered and third.steps[0].staggered
    told = [each for each in lab.dispatcher.events.since(-1)[0] if each.kind == "waiting"]
    assert [(each.request, each.due, each.outlets) for each in told] == [
        (second.id, WALL + 505, (A2,)), (third.id, WALL + 510, (Outlet("a", "3"),)),
    ]  # fmt: skip
    lab.pass_by(5)
    assert [each[0] for each in lab.take()] == ["a port 2"], "which has had its place"
    lab.pass_by(5)
    assert [each[0] for each in lab.take()] == ["a port 3"] and lab.table.times == []
    assert len([each for each in lab.kinds() if each == "waiting"]) == 2


def test_an_on_takes_its_place_when_it_is_due(make: Callable[..., Lab]) -> None:
    lab = make(stagger=5)
    lab.ask("on", A, delay=60.0)
    lab.ask("on", A2)
    assert [each[0] for each in lab.take()] == ["a port 2"]
    lab.pass_by(60)
    assert lab.take() == [ON_A]


def test_offs_and_other_pdus_do_not_wait(make: Callable[..., Lab]) -> None:
    lab = make(stagger=5)
    for action, outlet in (("on", A), ("off", A2), ("on", B)):
        lab.ask(action, outlet)
    assert len(lab.take()) == 3 and lab.table.times == []
