# SPDX-License-Identifier: MIT
"""Places for those of which only some may act at a time: how many at once, how many within a time, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pdudaemon.engine import pool, threads
from pdudaemon.engine.pool import Place, Pool
from tests.support.process import eventually


class Work:
    """Threads that each take a place, note when they have it, and keep it until they are let go."""

    def __init__(self, places: int) -> None:
        self.pool = Pool(places)
        self.began: list[float] = []
        self.most = 0
        self._acting = 0
        self._lock = threading.Lock()

    def act(self, release: threading.Event) -> None:
        with self.pool.place():
            with self._lock:
                self.began.append(time.monotonic())
                self._acting += 1
                self.most = max(self.most, self._acting)
            assert release.wait(30)
            with self._lock:
                self._acting -= 1

    @contextmanager
    def done_by(self, number: int) -> Iterator[threading.Event]:
        """Have so many act; let them go, and wait for them, at the end."""
        release = threading.Event()
        threads = [threading.Thread(target=self.act, args=(release,), daemon=True) for _ in range(number)]
        for thread in threads:
            thread.start()
        try:
            yield release
        finally:
            release.set()
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive()


def test_no_more_at_a_time_than_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 600)
    work = Work(3)
    with work.done_by(20):
        eventually(lambda: work.most == 3)
    assert (len(work.began), work.most) == (20, 3)


def test_those_who_hang_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 0.05)
    work = Work(2)
    with work.done_by(10):
        eventually(lambda: len(work.began) == 10)
        with work.done_by(1) as live:
            live.set()
            eventually(lambda: len(work.began) == 11)


class Clock:
    """A clock that a test sets, in the place of the pool's; ``looks`` is how often that has looked at it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pool, "time", made)
    return made


def test_no_more_begin_within_a_time_than_there_are_places(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "started", lambda *_: None)  # whoever comes has the line looked at
    one, began = Pool(2), list[float]()

    def begin() -> bool:
        began.append(clock.now)
        return True

    for _ in range(6):
        one.ask(Place(begin))
    for seconds in (2.0, 0.5, 0.5, 1.0, 1.5, 0.5, 3.0):
        clock.now += seconds
        one.ask(Place(begin))
    assert began == [1000.0] * 2 + [1003.0] * 2 + [1006.0] * 2 + [1009.0] * 2


def test_one_thread_looks_after_those_that_wait_and_sleeps_meanwhile(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {*threading.enumerate()}
    one, began = Pool(1), list[int]()

    def place(number: int) -> Place:
        def begin() -> bool:
            began.append(number)
            return True

        return Place(begin)

    places = [place(number) for number in range(4)]
    for each in places:
        one.ask(each)
    watching = [thread for thread in threading.enumerate() if thread.name == "pool" and thread not in others]
    assert len(watching) == 1 and began == [0]
    before = clock.looks
    watching[0].join(0.05)
    assert clock.looks - before < 20
    for each in places:
        one.leave(each)
    assert began == [0, 1, 2, 3]
    with one._changed:
        one._changed.notify_all()
    watching[0].join(30)
    assert not watching[0].is_alive(), "there is nobody any more"


def test_a_place_that_was_lost_is_not_given_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 0.05)
    work = Work(1)
    with work.done_by(4):
        eventually(lambda: len(work.began) == 4)
    monkeypatch.setattr(pool, "PATIENCE", 600)
    work.most = 0
    with work.done_by(8):
        eventually(lambda: len(work.began) > 4)
    assert (len(work.began), work.most) == (12, 1)


def test_turns_go_round_among_the_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 600)
    one, began = Pool(1), []

    def place(word: str, crowd: str | None) -> Place:
        def begin() -> bool:
            began.append(word)
            return True

        return Place(begin, crowd)

    places = {
        word: place(word, word[0] if len(word) > 1 else None) for word in ["a1", "a2", "a3", "a4", "b1", "b2", "x"]
    }
    for each in places.values():
        one.ask(each)
    while len(began) < len(places):
        one.leave(places[began[-1]])
    assert began == ["a1", "a2", "b1", "x", "a3", "b2", "a4"]


def test_who_can_make_no_use_of_a_place_gets_it_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PAUSE", 0.01)
    one, tries = Pool(1), []

    def begin() -> bool:
        tries.append(time.monotonic())
        return len(tries) > 3

    one.ask(Place(begin))
    eventually(lambda: len(tries) == 4)
    behind = threading.Event()
    one.ask(Place(lambda: behind.set() or True))
    assert not behind.is_set()
