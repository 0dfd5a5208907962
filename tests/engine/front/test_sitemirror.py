# SPDX-License-Identifier: MIT
"""What a site says, in the words and by the clock of its front."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from pdudaemon.engine.front.sitemirror import Mirror, Translation, ahead
from pdudaemon.power import Outlet, State

NOW = 1_000_000.0
PDU = {"name": "p1", "driver": "apc7920", "state": "ready", "reason": None, "readable": True, "requests": 2}
OUTLET: dict[str, Any] = {"pdu": "p1", "port": "3", "name": "router", "nodes": ["b3"], "locked": False, "reason": None}
OUTLET |= {"state": "on", "source": "device", "time": 5.0, "age": 7.0, "watts": 12.5, "volts": 230, "amps": None}
OUTLET |= {"watt_hours": None, "readings_age": 8.0}


def mirror(**more: Any) -> Mirror:
    found = Mirror(Translation("berlin", True))
    node = {"name": "b3", "feeds": [OUTLET | more], "reason": None, "last_request": None}
    found.begin(PDU | {"reachable": True, "watts": 12.5, "age": 9.0}, NOW, found)
    found.outlet(OUTLET | more, NOW)
    found.node(node, NOW)
    found.group("g", ["b3"])
    return found


def test_ages_count_and_not_the_sites_clock() -> None:
    found = mirror()
    known = found.pdus["berlin/p1"].outlets["3"]
    assert (known.state, known.source, known.time, known.read) == (State.ON, "device", NOW - 7, NOW - 8)
    assert (known.name, known.watts, known.volts, known.amps) == ("router", 12.5, 230, None)
    assert found.pdus["berlin/p1"].read == NOW - 8  # one of its outlets was read since
    assert found.pdus["berlin/p1"].trails["3"].points(NOW)[-1][1] == 12.5
    assert found.nodes["berlin/b3"].feeds == (Outlet("berlin/p1", "3"),) and found.groups == {
        "berlin/g": ("berlin/b3",)
    }


def test_times_of_a_clock_that_is_off_are_corrected() -> None:
    translation = Translation("berlin", True)
    translation.ahead = 3600.0
    record = translation.request(
        {
            "id": 7,
            "target": "b3 (p1 port 3)",
            "outlets": [{"pdu": "p1", "port": "3"}],
            "accepted": 5000.0,
            "ended": None,
        }
    )
    assert (record["accepted"], record["ended"], record["id"]) == (1400.0, None, "berlin/7")


@pytest.mark.parametrize(
    "told, ours",
    [
        ("p1 port 3", "berlin/p1 port 3"),
        ("b3 (p1 port 3)", "berlin/b3 (berlin/p1 port 3)"),
        ("b3 (p1 port 3, my rack port 4)", "berlin/b3 (berlin/p1 port 3, berlin/my rack port 4)"),
        ("b3 (p1 port 3), b4 (p1 port 4)", "berlin/b3 (berlin/p1 port 3), berlin/b4 (berlin/p1 port 4)"),
        ("b3", "berlin/b3"),
    ],
)
def test_what_a_request_was_for_is_said_in_our_words(told: str, ours: str) -> None:
    assert Translation("berlin", True).target(told, {"p1", "my rack"}) == ours
    assert Translation("berlin", False).target(told, {"p1", "my rack"}) == told


def test_of_a_site_that_cannot_be_asked_nothing_is_known() -> None:
    found = mirror()
    shown = found.without_states("berlin cannot be asked: why")["berlin/p1"]
    assert (shown.outlets["3"].state, shown.outlets["3"].source, shown.outlets["3"].watts) == (
        State.UNKNOWN,
        "none",
        None,
    )
    assert (shown.reachable, shown.trouble, shown.watts, shown.outlets["3"].name) == (
        False,
        "berlin cannot be asked: why",
        None,
        "router",
    )
    assert found.pdus["berlin/p1"].outlets["3"].state is State.ON


def test_locks_are_those_of_the_site() -> None:
    found = mirror(locked=True, reason="p1 port 3 is locked by the configuration: core switch")
    names = found.names("")
    assert names.locks(Outlet("berlin/p1", "3")).endswith("core switch") and not names.locks(Outlet("berlin/p1", "4"))
    found.outlet(OUTLET, NOW)
    assert not names.locks(Outlet("berlin/p1", "3"))


def test_an_answer_that_comes_before_its_events_is_not_undone_by_older_ones() -> None:
    found, place = mirror(), Outlet("berlin/p1", "3")
    known = found.pdus["berlin/p1"].outlets
    assert found.switched("berlin/7", place, State.ON, NOW) is None  # it is on
    found.switched("berlin/8", place, State.OFF, NOW)
    assert (known["3"].state, known["3"].source, known["3"].time) == (State.OFF, "commanded", NOW)
    found.outlet(OUTLET | {"watts": 3.5}, NOW)  # by which it was on
    assert (known["3"].state, known["3"].watts) == (State.OFF, 3.5)
    found.caught_up("berlin/7")
    found.outlet(OUTLET, NOW)
    assert known["3"].state is State.OFF
    found.caught_up("berlin/8")
    found.outlet(OUTLET, NOW)
    assert known["3"].state is State.ON and found.ahead == {}
    assert found.switched("berlin/9", Outlet("berlin/p1", "77"), State.ON, NOW) is None and found.ahead == {}


def test_what_makes_no_sense_is_no_state() -> None:
    found = mirror(state="exploded", watts="many", age="old")
    known = found.pdus["berlin/p1"].outlets["3"]
    assert (known.state, known.watts, known.time) == (State.UNKNOWN, None, None)
    assert found.outlet(OUTLET | {"pdu": "elsewhere"}, NOW) is None


@pytest.mark.parametrize("off", [-86400, -60, -3, 5, 7200])
def test_a_clock_that_is_off(off: int) -> None:
    assert ahead(formatdate(NOW + off, usegmt=True), NOW) == off + 0.5


@pytest.mark.parametrize("date", ["", "yesterday", formatdate(NOW, usegmt=True), formatdate(NOW + 1, usegmt=True)])
def test_a_clock_that_is_right_or_says_nothing(date: str) -> None:
    assert ahead(date, NOW) == 0.0
