# SPDX-License-Identifier: MIT
"""`Trail`: a value a minute, for an hour."""

from __future__ import annotations

from pdudaemon.engine.trail import Trail

HOUR = 36_000_000  # a whole minute


def test_the_last_value_of_each_minute_is_kept_for_an_hour() -> None:
    trail = Trail()
    for second in range(0, 90 * 60, 20):
        trail.put(HOUR + second, second / 20)
    found = trail.points(HOUR + 90 * 60 - 1)
    assert [when for when, _ in found] == [HOUR + minute * 60 for minute in range(30, 90)]
    assert [watts for _, watts in found] == [minute * 3 + 2 for minute in range(30, 90)]


def test_minutes_without_a_reading_are_left_out() -> None:
    trail = Trail()
    trail.put(HOUR, 1)
    trail.put(HOUR + 59 * 60, 2)
    assert trail.points(HOUR + 59 * 60) == [(HOUR, 1), (HOUR + 59 * 60, 2)]
    trail.put(HOUR + 61 * 60, 3)
    assert trail.points(HOUR + 61 * 60) == [(HOUR + 59 * 60, 2), (HOUR + 61 * 60, 3)]


def test_what_is_older_than_an_hour_is_gone() -> None:
    trail = Trail()
    trail.put(HOUR, 1)
    assert trail.points(HOUR + 59 * 60) == [(HOUR, 1)]
    assert trail.points(HOUR + 60 * 60) == []
    trail.put(HOUR + 200 * 60, 5)
    assert trail.points(HOUR + 200 * 60) == [(HOUR + 200 * 60, 5)]


def test_a_clock_that_was_set_back_begins_anew() -> None:
    trail = Trail()
    trail.put(HOUR, 1)
    trail.put(HOUR - 600, 2)
    assert trail.points(HOUR - 600) == [(HOUR - 600, 2)]


def test_nothing_is_known_before_the_first_reading() -> None:
    assert Trail().points(HOUR) == []


def test_watts_are_told_to_a_hundredth() -> None:
    trail = Trail()
    trail.put(HOUR, 12.34567)
    assert trail.points(HOUR) == [(HOUR, 12.35)]


def test_who_looks_late_sees_no_hour_that_has_gone() -> None:
    trail = Trail()
    trail.put(HOUR, 1)
    trail.put(HOUR + 60 * 60, 2)
    assert trail.points(HOUR + 60 * 60) == [(HOUR + 60 * 60, 2)] == trail.points(HOUR + 30 * 60)
