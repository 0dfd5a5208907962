# SPDX-License-Identifier: MIT
"""`Timetable`: calls in order of time, and no room for those that are cancelled."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from pdudaemon.engine.timetable import FEW, Timetable


@pytest.fixture
def timetable() -> Iterator[Timetable]:
    """Run a timetable, whose lock is its own."""
    lock = threading.Lock()
    one = Timetable(lock)
    one.start()
    yield one
    with lock:
        one.stop()
    assert one.join(60)


def test_calls_are_made_in_order_of_time_then_of_entry(timetable: Timetable) -> None:
    made: list[int] = []
    done = threading.Event()
    now = time.monotonic() + 0.1
    with timetable._condition:
        timetable.at(now + 0.1, done.set)
        for number, when in enumerate((now, now - 1, now)):
            timetable.at(when, lambda number=number: made.append(number))  # type: ignore[misc]
    assert done.wait(30)
    assert made == [1, 0, 2]


def test_what_is_cancelled_is_not_called_and_takes_no_room(timetable: Timetable) -> None:
    """As 2,000 requests with a delay of a day that are cancelled at once."""
    made: list[str] = []
    done = threading.Event()
    day = time.monotonic() + 86400
    with timetable._condition:
        last = timetable.at(time.monotonic() + 0.2, done.set)
        kept = [timetable.at(day + number, lambda: made.append("late")) for number in range(10)]
        for _ in range(2000):
            timetable.at(day, lambda: made.append("cancelled")).cancel()
            assert len(timetable._heap) <= 2 * (len(kept) + 1) + FEW + 1
    assert done.wait(30)
    with timetable._condition:
        last.cancel()  # too late, and no harm
        assert [entry for _, _, entry in sorted(timetable._heap) if entry.call is not None] == kept
        assert timetable._cancelled == len(timetable._heap) - len(kept)
    assert not made


def test_what_is_left_of_many_that_are_cancelled_is_called_in_order(timetable: Timetable) -> None:
    made: list[float] = []
    done = threading.Event()
    chance = random.Random(7)
    begun = time.monotonic() + 0.5
    with timetable._condition:
        times = [begun + chance.random() / 10 for _ in range(1000)]
        entries = [timetable.at(when, lambda when=when: made.append(when)) for when in times]  # type: ignore[misc]
        timetable.at(begun + 0.2, done.set)
        kept = {*chance.sample(range(1000), 300)}
        for number in sorted({*range(1000)} - kept, key=lambda _: chance.random()):
            entries[number].cancel()
    assert done.wait(30)
    assert made == sorted(times[number] for number in kept)


def test_what_was_cancelled_and_whose_time_has_come_is_not_counted(timetable: Timetable) -> None:
    done = threading.Event()
    with timetable._condition:
        now = time.monotonic()
        for _ in range(FEW):
            timetable.at(now + 0.1, done.set).cancel()
        assert timetable._cancelled == len(timetable._heap) == FEW
        timetable.at(now + 0.1, done.set)
    assert done.wait(30)
    with timetable._condition:
        assert timetable._cancelled == len(timetable._heap) == 0
        timetable.at(now + 86400, done.set)
        for _ in range(FEW + 1):
            assert len(timetable._heap) == 1 + timetable._cancelled
            timetable.at(now + 86400, done.set).cancel()
        assert (len(timetable._heap), timetable._cancelled) == (1, 0)


def test_it_is_a_thread_of_the_daemon_and_has_a_name(timetable: Timetable) -> None:
    assert str(timetable) == "the timetable"
    assert [each.daemon for each in threading.enumerate() if each.name == "timetable"] == [True]


def test_a_call_is_made_in_its_time_and_not_before(timetable: Timetable) -> None:
    """Also if it comes while the thread waits for nothing, or for what is later."""
    made: list[float] = []
    for wait in (0.0, 0.3, 0.0):
        done = threading.Event()
        with timetable._condition:
            timetable.at(time.monotonic() + 86400, done.set)
            when = time.monotonic() + wait
            timetable.at(when, lambda: (made.append(time.monotonic()), done.set()))  # type: ignore[arg-type, return-value, func-returns-value]  # noqa: B023
        assert done.wait(30) and made[-1] >= when


@pytest.mark.usefixtures("meant")
def test_a_call_that_fails_ends_nothing(timetable: Timetable, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with timetable._condition:
        timetable.at(time.monotonic(), lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        timetable.at(time.monotonic(), done.set)
    assert done.wait(30)
    assert timetable.turning and "a call of the timetable failed" in caplog.text
