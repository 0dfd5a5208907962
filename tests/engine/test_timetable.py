# SPDX-License-Identifier: MIT
"""`Timetable`: calls in order of time, and no room for those that are cancelled."""

from __future__ import annotations

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
    assert one.join(10)


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


def test_a_call_that_fails_ends_nothing(timetable: Timetable) -> None:
    done = threading.Event()
    with timetable._condition:
        timetable.at(time.monotonic(), lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        timetable.at(time.monotonic(), done.set)
    assert done.wait(30)
    assert timetable.turning
