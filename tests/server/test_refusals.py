# SPDX-License-Identifier: MIT
"""Who is refused again and again: told slower, logged once a minute, and in a table that does not grow for ever."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator

import pytest

from pdudaemon.server import refusals
from pdudaemon.server.refusals import FREE, MINUTE, MOST, PAUSE, Refusals
from tests.support.process import Daemon, in_parallel
from tests.support.tokens import SECRET, later, made


class Clock:
    """A clock that a test moves, and the calls that are due by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def at(self, when: float, call: Callable[[], None]) -> None:
        self.calls.append((when, call))

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        due = [each for each in self.calls if each[0] <= self.now]
        self.calls = [each for each in self.calls if each[0] > self.now]
        for _, call in due:
            call()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    one = Clock()
    monkeypatch.setattr(refusals.time, "monotonic", lambda: one.now)
    yield one


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_the_first_is_told_at_once_and_the_others_once_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    table = Refusals(clock.at)
    pauses = [table.note("192.0.2.1", f"no {number}") for number in range(1, 31)]
    assert pauses == [0.0] * FREE + [PAUSE] * (30 - FREE)
    assert table.note("192.0.2.2", "neither") == 0.0  # nobody pays for others
    assert lines(caplog) == ["no 1", "neither"]
    clock.pass_by(MINUTE)
    assert lines(caplog) == ["192.0.2.1: refused 29 times more, the last: no 30"]
    assert table.note("192.0.2.1", "again") == 0.0 and lines(caplog) == ["again"]
    table.note("192.0.2.1", "once more")
    table.close()
    assert lines(caplog) == ["192.0.2.1: refused 1 times more, the last: once more"]
    clock.pass_by(MINUTE)
    clock.pass_by(MINUTE)
    assert lines(caplog) == [] and not clock.calls  # nothing is done for who has gone


def test_many_addresses_cost_no_more_than_the_table(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    table = Refusals(clock.at)
    for number in range(MOST + 50):
        for _ in range(2):
            table.note(f"address {number}", "no")
    assert len(table._table) == MOST and len(clock.calls) == 1
    told = lines(caplog)
    assert told.count("no") == MOST + 50 and len(told) == MOST + 100  # those that made room were told of
    others = [each for each in told if each != "no"]
    assert others == [f"address {number}: refused 1 times more, the last: no" for number in range(50)], "the oldest"


def test_each_minute_begins_anew(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    table = Refusals(clock.at)
    for _ in range(3):
        assert [table.note("192.0.2.1", "no") for _ in range(FREE + 1)] == [0.0] * FREE + [PAUSE]
        clock.pass_by(MINUTE)
        assert lines(caplog) == ["no", f"192.0.2.1: refused {FREE} times more, the last: no"]
    table.note("192.0.2.2", "first")
    clock.pass_by(MINUTE - 1)
    table.note("192.0.2.2", "second")
    clock.pass_by(1)
    table.note("192.0.2.2", "third")  # though nobody has looked meanwhile
    assert lines(caplog) == ["first", "192.0.2.2: refused 1 times more, the last: second", "third"]
    clock.pass_by(MINUTE)
    assert lines(caplog) == []
    assert table.note("192.0.2.2", "again") == 0.0 and lines(caplog) == ["again"]


def test_who_has_gone_is_forgotten_once_his_minute_is_over(clock: Clock) -> None:
    table = Refusals(clock.at)
    table.note("192.0.2.1", "no")
    table.note("192.0.2.1", "no")
    clock.pass_by(MINUTE / 2)
    table.note("192.0.2.2", "no")
    table.note("192.0.2.2", "no")
    assert len(clock.calls) == 1
    clock.pass_by(MINUTE / 2)
    assert [*table._table] == ["192.0.2.2"] and not clock.calls
    table.note("192.0.2.2", "no")
    assert [when for when, _ in clock.calls] == [clock.now + MINUTE]


def test_bad_tokens_are_answered_slower_and_good_ones_are_not(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=SECRET)
    bad = f"Bearer {made({'exp': later()}, 'x')}"
    good = f"Bearer {made({'exp': later()})}"

    def asked(authorization: str) -> tuple[int, float]:
        began = time.monotonic()
        return started.http("/api/v1/pdus", Authorization=authorization).status, time.monotonic() - began

    assert [asked(bad)[0] for _ in range(FREE)] == [401] * FREE
    replies = in_parallel([lambda each=each: asked(each) for each in itertools.chain([bad] * 8, [good] * 8)])
    assert [status for status, _ in replies] == [401] * 8 + [200] * 8
    assert min(seconds for _, seconds in replies[:8]) >= PAUSE
    assert started.stop() == 0
    log = started.log_text()
    assert log.count("the token is not valid here") == 2 and f"refused {FREE + 7} times more, the last: " in log
