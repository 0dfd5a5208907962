# SPDX-License-Identifier: MIT
"""What is known of an outlet: how readings are put together, what is news, and how it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.readings import InletReading, OutletReading
from pdudaemon.engine.outlets import NOTHING, Known, KnownPDU, age, drawn, is_news, merged, record
from pdudaemon.power import Outlet, State


@pytest.mark.parametrize(("time", "seconds"), [(None, None), (90.0, 10.0), (100.0, 0.0), (101.0, 0.0), (99.99951, 0.0)])
def test_an_age_is_never_below_0(time: float | None, seconds: float | None) -> None:
    assert age(time, 100.0) == seconds


def test_a_reading_takes_the_place_of_all_but_a_state_that_it_has_not() -> None:
    before = Known(State.ON, "commanded", 5.0, "old", 1.0, 2.0, 3.0, 4.0, 5.0, 1.0)
    now = merged(before, OutletReading("1", None, None, 7.0), 9.0)
    assert now == Known(State.ON, "commanded", 5.0, None, 7.0, None, None, None, 9.0, 1.0)
    assert merged(before, OutletReading("1", state=State.OFF), 9.0)[:3] == (State.OFF, "device", 9.0)
    assert json.dumps(now)  # nothing in it that a client could not be told


@pytest.mark.parametrize(
    ("inlets", "outlets", "watts"),
    [
        ([], [], None),
        ([], [None, None], None),
        ([], [1.5, None, 2.0001], 3.5),
        ([], [0.0], 0.0),
        ([("inlet", 5.0), ("pdu", 20.00049), ("bank", 7.0), ("pdu", 1.0)], [1.5], 21.0),
        ([("pdu", None), ("inlet", 5.0), ("phase", 4.0), ("inlet", None), ("inlet", 6.0)], [1.5], 11.0),
        ([("bank", 3.0), ("phase", 4.0)], [1.5], 4.0),
        ([("bank", 3.0), ("bank", 3.25)], [1.5], 6.25),
        ([("bank", None)], [1.5], 1.5),
    ],
)
def test_what_a_pdu_draws_is_what_one_kind_of_its_inlets_says(
    inlets: list[tuple[Any, float | None]], outlets: list[float | None], watts: float | None
) -> None:
    told = [InletReading("x", each, kind=kind) for kind, each in inlets]
    assert drawn(told, [OutletReading(str(port), watts=each) for port, each in enumerate(outlets)]) == watts


def test_outlets_are_found_by_what_they_are_called() -> None:
    ports = {"1": "router", "2": None, "3": "router", "4": "switch"}
    known = KnownPDU({port: NOTHING._replace(name=name) for port, name in ports.items()})
    assert (known.called("router"), known.called("switch"), known.called("x")) == (["1", "3"], ["4"], [])


def test_nothing_is_known_of_a_pdu_that_nobody_has_asked() -> None:
    known = KnownPDU({})
    assert (known.reachable, known.trouble, known.failures, known.gone, known.cut) == (None, "", 0, False, False)
    assert (known.read, known.tried, known.identity, known.inlets, known.watts) == (None, None, None, (), None)
    assert known.switched < 0 and known.trails == {}


def test_what_is_told_of_an_outlet(tmp_path: Path) -> None:
    nodes = {"b1": {"hostname": "p", "port": 1}, "b2": {"hostname": "p", "port": 2, "locked": True}}
    (tmp_path / "conf").write_text(json.dumps({"pdus": {"p": {"driver": "dummy"}}, "nodes": nodes}))
    config = reader.load(str(tmp_path / "conf"))
    known = Known(State.ON, "device", 90.0, "router", 1.0, 2.0, 3.0, 4.0, 95.0, 1.0)
    assert record(Outlet("p", "1"), known, config, 100.0) == {
        "pdu": "p", "port": "1", "name": "router", "nodes": ["b1"], "locked": False, "reason": None, "state": "on",
        "source": "device", "time": 90.0, "age": 10.0, "watts": 1.0, "volts": 2.0, "amps": 3.0, "watt_hours": 4.0,
        "readings_age": 5.0,
    }  # fmt: skip
    locked = record(Outlet("p", "2"), NOTHING, config, 100.0)
    assert locked["locked"] is True and locked["reason"] == "p port 2 is locked by the configuration"
    assert (locked["state"], locked["source"], locked["age"], locked["readings_age"]) == ("unknown", "none", None, None)


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
