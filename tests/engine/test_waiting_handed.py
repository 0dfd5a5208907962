# SPDX-License-Identifier: MIT
"""Who writes and tells: whoever has given the lock back, or who is woken for many; and who waits while a disk takes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import waiting
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.waiting import Waiting, not_done
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, Outlet, Phase, Request, Stage, Step, Target
from tests.support.process import eventually
from tests.support.stores import asked, end


class Lab:
    """A lock in front of a store; ``done`` has what came of it, in order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.refuses = False
        self.store = Store(str(folder / "store"))
        self.request = asked("on")
        self.store.add_all([self.request])
        flush = self.store.flush

        def flushed() -> None:
            self.done.append("written" if not self.refuses else "refused")
            if self.refuses:
                raise StoreError("full")
            flush()

        monkeypatch.setattr(self.store, "flush", flushed)
        self.lock = Waiting(self.store, lambda error: self.done.append(f"told: {error}"))

    def note(self) -> None:
        self.store.note(end(self.request))

    def tell(self, word: str) -> None:
        with self.lock.bare:
            self.lock.tell(self.done.append, word)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path, monkeypatch)
    yield made
    made.store.close()


def test_what_is_noted_is_written_before_anybody_is_told(lab: Lab) -> None:
    with lab.lock:
        lab.note()
        lab.lock.tell(lab.done.append, "told")
        assert lab.done == [] and lab.lock.locked()
    assert lab.done == ["written", "told"] and not lab.lock.locked() and lab.store.noted == {}
    with lab.lock:
        pass
    assert lab.done == ["written", "told"], "there was nothing to do"


def test_who_is_woken_for_many_is_woken_once_there_is_something(lab: Lab) -> None:
    lab.lock.wake = lambda: lab.done.append("woken")
    lab.lock.hand_in()
    assert lab.done == []
    lab.tell("one")
    lab.lock.hand_in()
    assert lab.done == ["woken"]
    lab.lock.lead()
    assert lab.done == ["woken", "one"]
    lab.note()
    lab.lock.hand_in()
    assert lab.done[2:] == ["woken"] and lab.store.noted
    lab.lock.lead()
    assert lab.done[3:] == ["written"]


def test_without_anybody_to_wake_it_is_done_at_once(lab: Lab) -> None:
    lab.tell("one")
    lab.lock.hand_in()
    assert lab.done == ["one"]


def test_while_the_store_takes_nothing_it_is_not_tried_and_who_waits_is_told(lab: Lab) -> None:
    lab.lock.wake = lambda: lab.done.append("woken")
    lab.refuses = True
    lab.note()
    lab.lock.lead()
    assert lab.done == ["refused", "told: full"] and lab.lock.refused
    lab.lock.lead()
    lab.lock.hand_in()
    assert lab.done == ["refused", "told: full"], "there is nothing to be done"
    lab.tell("one")
    lab.lock.hand_in()
    assert lab.done[2:] == ["woken"]
    lab.lock.lead()
    assert lab.done[3:] == ["one"]
    lab.refuses = False
    lab.lock.write_again()
    assert not lab.lock.refused
    lab.lock.lead()
    assert lab.done[4:] == ["written"] and lab.store.noted == {}


def test_one_who_leads_alone_leads_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rounds, as nobody else is there."""
    monkeypatch.setattr(waiting, "ROUNDS", 2)
    left = [*range(10)]

    def again() -> None:
        lab.done.append("told")
        if left.pop():
            with lab.lock.bare:
                lab.lock.tell(again)

    with lab.lock:
        lab.lock.tell(again)
    assert lab.done == ["told"] * 10


@pytest.mark.parametrize(("round_", "waits"), [(0, False), (2, False), (3, True), (4, True)])
def test_one_who_comes_waits_to_lead_once_another_has_led_for_some_rounds(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, round_: int, waits: bool
) -> None:
    """Before that he goes on with his own work at once; and a third one does so in any case."""
    monkeypatch.setattr(waiting, "ROUNDS", 3)
    came: list[threading.Thread] = []

    def come() -> threading.Thread:
        one = threading.Thread(target=lab.lock.lead, name="who comes")
        one.start()
        return one

    def tell(number: int) -> None:
        lab.done.append(threading.current_thread().name)
        if number < 6:
            with lab.lock.bare:
                lab.lock.tell(tell, number + 1)
        if number == round_:
            came.append(come())
            if waits:
                eventually(lab.lock._next.locked)
                third = come()
                third.join(60)
                assert not third.is_alive()
            else:
                came[0].join(60)
                assert not came[0].is_alive() and not lab.lock._next.locked()

    with lab.lock.bare:
        lab.lock.tell(tell, 0)
    leader = threading.Thread(target=lab.lock.lead, name="leader")
    leader.start()
    leader.join(60)
    came[0].join(60)
    led = round_ + 1 if waits else 7
    assert lab.done == ["leader"] * led + ["who comes"] * (7 - led)
    assert not lab.lock._next.locked() and not lab.lock._leading.locked() and not leader.is_alive()


def test_another_thread_that_comes_leaves_it_to_who_leads(lab: Lab) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(30)

    def first() -> None:
        with lab.lock:
            lab.lock.tell(hold)

    leader = threading.Thread(target=first)
    leader.start()
    assert begun.wait(30)
    lab.tell("second")
    lab.lock.lead()
    assert lab.done == [], "it did not wait"
    go_on.set()
    leader.join()
    assert lab.done == ["second"]


def step(at: float, stage: Stage = Stage.QUEUED, action: Action = Action.ON) -> Request:
    place = Outlet("a", "1")
    found = Request(action, Target("x", (place,)), 5.0, "", 0.0, Phase.ON, id=7)
    found.steps = [Step(found, place, Action.ON, Action.ON, at=time.monotonic() + at, stage=stage)]
    return found


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (lambda: step(-1.0), "a: the device is busy"),
        (lambda: step(0.6), "waiting for its delay, for 1 s more"),
        (lambda: step(9.9), "waiting for its delay, for 10 s more"),
        (lambda: step(9.9, action=Action.REBOOT), "a port 1 is off, and is switched on in 10 s"),
        (lambda: step(9.9, Stage.RUNNING), "a: the device has not answered yet"),
        (lambda: step(0.0, Stage.ENDED), "it has not begun"),
    ],
)
def test_what_keeps_it(monkeypatch: pytest.MonkeyPatch, request_: Callable[[], Any], words: str) -> None:
    now = time.monotonic()
    monkeypatch.setattr(waiting, "time", type("Clock", (), {"monotonic": lambda: now}))
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert str(not_done(request_(), 2.5, None)) == f"accepted as request 7, not done after 2.5 s: {words}; it goes on"


def test_what_stands_before_it_keeps_it() -> None:
    ahead = step(0.0)
    ahead.id = 3
    assert "queued behind request 3; it goes on" in str(not_done(step(0.0, Stage.ENDED), 1.0, ahead))


@pytest.mark.usefixtures("meant")
def test_all_are_told_whatever_one_does(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("odd")

    with lab.lock:
        lab.lock.tell(fail)
        lab.lock.tell(lab.done.append, "other")
    eventually(lambda: lab.done == ["other"])
    assert "telling a client failed" in caplog.text
