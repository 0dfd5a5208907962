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


def test_no_more_begin_within_a_time_than_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 0.2)
    work = Work(2)
    with work.done_by(9):
        eventually(lambda: len(work.began) == 9)
    assert all(later - sooner > 0.19 for sooner, later in zip(work.began, work.began[2:], strict=False))


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
