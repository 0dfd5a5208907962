# SPDX-License-Identifier: MIT
"""What is known of an outlet: how readings are put together, what is news, and how it is told."""

from __future__ import annotations

import json

import pytest

from pdudaemon.drivers.readings import OutletReading
from pdudaemon.engine.outlets import NOTHING, Known, age, is_news, merged
from pdudaemon.power import State


@pytest.mark.parametrize(("time", "seconds"), [(None, None), (90.0, 10.0), (100.0, 0.0), (101.0, 0.0), (99.99951, 0.0)])
def test_an_age_is_never_below_0(time: float | None, seconds: float | None) -> None:
    assert age(time, 100.0) == seconds


def test_a_reading_takes_the_place_of_all_but_a_state_that_it_has_not() -> None:
    before = Known(State.ON, "commanded", 5.0, "old", 1.0, 2.0, 3.0, 4.0, 5.0, 1.0)
    now = merged(before, OutletReading("1", None, None, 7.0), 9.0)
    assert now == Known(State.ON, "commanded", 5.0, None, 7.0, None, None, None, 9.0, 1.0)
    assert merged(before, OutletReading("1", state=State.OFF), 9.0)[:3] == (State.OFF, "device", 9.0)
    assert json.dumps(now)  # nothing in it that a client could not be told


ON = Known(State.ON, "device", 1.0, "router", 100.0, read=1.0, shown=100.0)


@pytest.mark.parametrize(
    ("now", "news"),
    [
        (ON, False),
        (ON._replace(time=2.0, read=2.0, volts=230.0, amps=0.4, watt_hours=7.0), False),
        (ON._replace(state=State.OFF), True),
        (ON._replace(source="commanded"), True),
        (ON._replace(name=None), True),
        (ON._replace(watts=104.9), False),
        (ON._replace(watts=94.9), True),
        (ON._replace(watts=None), True),
        (ON._replace(watts=0.0), True),
    ],
)
def test_what_is_news(now: Known, news: bool) -> None:
    assert is_news(ON, now) is news


def test_small_loads_need_a_watt() -> None:
    little = ON._replace(watts=2.0, shown=2.0)
    assert not is_news(little, little._replace(watts=2.9)) and is_news(little, little._replace(watts=3.0))
    assert not is_news(NOTHING, NOTHING._replace(read=1.0)) and is_news(NOTHING, NOTHING._replace(watts=0.0))
