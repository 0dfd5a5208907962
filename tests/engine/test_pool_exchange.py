# SPDX-License-Identifier: MIT
"""A thread that has done with a place goes on with who has it then, if that one can be served by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pdudaemon.engine import pool, threads
from pdudaemon.engine.pool import Place, Pool
from tests.support.process import eventually


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 600)


class Line:
    """Those who ask for places, by their words; ``began`` has those that have had one."""

    def __init__(self, places: int) -> None:
        self.pool = Pool(places)
        self.began: list[str] = []
        self.refusing: set[str] = set()

    def place(self, word: str, serve: Callable[[], None] | None = None, crowd: str | None = None) -> Place:
        def begin() -> bool:
            self.began.append(word)
            return word not in self.refusing

        return Place(begin, crowd, serve)

    def ask(self, word: str, serve: Callable[[], None] | None = None, crowd: str | None = None) -> Place:
        made = self.place(word, serve, crowd)
        self.pool.ask(made)
        return made


def test_who_can_be_served_is_returned_and_not_begun() -> None:
    line = Line(1)
    first = line.ask("first")
    second = line.ask("second", lambda: None)
    third = line.ask("third")
    assert line.began == ["first"]
    assert line.pool.exchange(first) is second and line.began == ["first"], "its thread is there already"
    assert line.pool.exchange(second) is None and line.began == ["first", "third"]
    line.pool.leave(third)
    assert line.pool.exchange(third) is None


def test_who_wishes_for_a_place_anew_stands_behind_the_others() -> None:
    line = Line(1)
    first = line.ask("first")
    other = line.ask("other", lambda: None)
    again = line.place("again", lambda: None)
    assert line.pool.exchange(first, again) is other
    assert line.pool.exchange(other) is again
    alone = line.place("alone", lambda: None)
    assert line.pool.exchange(again, alone) is alone, "nobody else is there"


def test_who_wishes_for_one_while_there_is_none_waits() -> None:
    line = Line(1)
    has = line.ask("has")
    stranger = line.place("stranger")  # who has none
    wish = line.place("wish", lambda: None)
    assert line.pool.exchange(stranger, wish) is None and line.began == ["has"]
    assert line.pool.exchange(has) is wish


def test_turns_go_round_among_crowds_in_an_exchange_as_well() -> None:
    line = Line(1)
    has = line.ask("has")
    found = {word: line.ask(word, lambda: None, word[0]) for word in ("a1", "a2", "a3", "b1")}
    order = []
    place: Place | None = has
    while place is not None:
        place = line.pool.exchange(place)
        order += [word for word, each in found.items() if each is place]
    assert order == ["a1", "b1", "a2", "a3"] and line.began == ["has"]


def test_one_that_begins_in_no_thread_of_its_own_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(threads, "started", lambda *_: None)  # so that nobody looks after the line but who comes
    line = Line(1)
    has = line.ask("has")
    line.refusing.add("next")
    line.ask("next")
    line.ask("behind")
    assert line.pool.exchange(has) is None and line.began == ["has", "next"]
    line.refusing.clear()
    now[0] += threads.PAUSE - 0.01
    line.pool.leave(has)
    assert line.began == ["has", "next"], "there is a pause for all, as there are no threads"
    now[0] += 0.01
    line.pool.leave(has)
    assert line.began == ["has", "next", "next"]


def test_a_place_is_lost_after_a_while_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 0.3)
    line = Line(1)
    begun = time.monotonic()
    has = line.ask("has")
    line.ask("next")
    eventually(lambda: line.began == ["has", "next"])
    assert time.monotonic() - begun >= 0.3
    monkeypatch.setattr(pool, "PATIENCE", 600)
    line.ask("last")
    line.pool.leave(has)
    line.pool.leave(has)
    assert line.began == ["has", "next"], "what was lost is not given back"


def test_nobody_looks_after_a_line_that_there_is_not() -> None:
    line = Line(1)
    has = line.ask("has")
    before = {*threading.enumerate()}
    line.pool.leave(has)
    assert not [each for each in threading.enumerate() if each.name == "pool" and each not in before]
    other = line.ask("other")
    line.ask("waits")
    line.pool.leave(other)
    eventually(lambda: line.began == ["has", "other", "waits"])


def test_a_thread_that_waits_for_its_place_gives_it_back_whatever_happens() -> None:
    one = Pool(1)
    with pytest.raises(ValueError), one.place():
        raise ValueError
    with one.place("crowd"):
        assert len(one._since) == 1
    assert not one._since and not one._line
