# SPDX-License-Identifier: MIT
"""`Pace`: a long answer rests while clients are served, and only then."""

from __future__ import annotations

import threading
import time

from pdudaemon.server.pace import LATELY, LONGEST, SLICE, Pace


class Rests(threading.Event):
    """Notes how long is rested, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return False


def rested(served: float, items: int, work: float = 0.0) -> list[float]:
    """Return the rests of a pace, whose daemon served somebody so long ago, over some items that take some CPU each."""
    pace, rests = Pace(), Rests()
    pace._never = rests
    found = []
    for item in pace.sliced(range(items)):
        pace.served = time.monotonic() - served if served else float("inf")  # whatever this thread is kept from
        until = time.thread_time() + work
        while time.thread_time() < until:
            pass
        found.append(item)
    assert found == [*range(items)]
    return rests.seconds


def test_nobody_else_asking_it_is_made_at_once() -> None:
    assert rested(LATELY + 1, 10 * SLICE) == []
    assert rested(float("inf"), 10 * SLICE) == []


def test_one_that_has_served_nobody_yet_has_no_rest() -> None:
    pace = Pace()
    assert [*pace.sliced(range(100))] == [*range(100)]
    pace.served = time.monotonic()
    assert [*pace.sliced(range(100))] == [*range(100)]


def test_what_was_served_half_a_second_ago_is_served() -> None:
    assert rested(0.5, 200) == [] and len(rested(0.0, 200)) == 10


def test_while_clients_are_served_each_slice_is_followed_by_a_rest() -> None:
    assert len(rested(0.0, 10 * SLICE)) == 10
    assert len(rested(0.0, SLICE - 1)) == 0


def test_the_rest_is_as_long_as_the_slice_took_many_times_over_but_bounded() -> None:
    (short,) = rested(0.0, SLICE, 1e-5)
    assert SLICE * 1e-5 * 10 < short <= LONGEST
    assert all(0 < rest < LONGEST for rest in rested(0.0, 3 * SLICE))
    assert rested(0.0, SLICE, 1e-3) == [LONGEST]
