# SPDX-License-Identifier: MIT
"""`Resumption` by a clock that stands: of which outlets nobody knows what they are, and what times count from when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from pdudaemon.engine.clock import Clock
from pdudaemon.engine.resumption import Resumption
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.power import Action, Asked, Outlet, Phase, Request, Soft, State
from tests.support.stores import asked

A = Outlet("a", "1")
NOW, UPTIME = 5000.0, 100.0


class Standing(Clock):
    """A clock that stands."""

    def __init__(self) -> None:
        self.boot = "this"

    def wall(self) -> float:
        return NOW

    def uptime(self) -> float:
        return UPTIME


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store(MEMORY)) as made:
        yield made


@pytest.fixture
def resumption(store: Store) -> Resumption:
    return Resumption(cast(Any, None), cast(Any, None), store, Standing())


@pytest.mark.parametrize(
    ("action", "fields", "told", "found"),
    [
        (Action.OFF, {}, State.ON, State.UNKNOWN),
        (Action.OFF, {}, State.OFF, State.OFF),
        (Action.OFF, {}, None, None),
        (Action.ON, {}, State.OFF, State.UNKNOWN),
        (Action.ON, {}, State.ON, State.ON),
        (Action.OFF, {"delay": 10.0, "accepted_uptime": 90.0}, State.ON, State.UNKNOWN),
        (Action.OFF, {"delay": 10.5, "accepted_uptime": 90.0}, State.ON, State.ON),
        (Action.ON, {"delay": 10.5, "accepted_uptime": 90.0}, State.OFF, State.OFF),
        (Action.OFF, {"accepted_uptime": 101.0}, State.ON, State.ON),
        (Action.REBOOT, {}, State.ON, State.ON),
        (Action.REBOOT, {"started": 1.0, "delay": 1000.0}, State.ON, State.UNKNOWN),
        (Action.REBOOT, {"started": 1.0}, State.OFF, State.OFF),
        (Action.REBOOT, {"phase": Phase.RESTART}, State.ON, State.ON),
        (Action.REBOOT, {"phase": Phase.RESTART, "started": 1.0, "delay": 1000.0}, State.ON, State.UNKNOWN),
        (Action.REBOOT, {"phase": Phase.RESTART, "started": 1.0}, None, State.UNKNOWN),
        (Action.REBOOT, {"phase": Phase.ON, "off_ended_uptime": 90.0, "delay": 10.0}, State.OFF, State.UNKNOWN),
        (Action.REBOOT, {"phase": Phase.ON, "off_ended_uptime": 90.0, "delay": 10.5}, State.OFF, State.OFF),
        (Action.REBOOT, {"phase": Phase.ON, "off_ended_uptime": None, "delay": 10.5}, State.OFF, State.UNKNOWN),
        (Action.REBOOT, {"phase": Phase.ON, "off_ended_uptime": 90.0, "delay": 10.0}, State.ON, State.ON),
    ],
)
def test_of_what_may_have_begun_nobody_knows_what_it_is(
    store: Store,
    resumption: Resumption,
    action: Action,
    fields: dict[str, Any],
    told: State | None,
    found: State | None,
) -> None:
    before = asked("on")
    store.add_all([before])
    if told is not None:
        store.switched(before, A, told, 1.0)
    request = asked(action.value, A, **fields)
    store.add_all([request])
    resumption._doubt(request, [A])
    last = store.last_told(A)
    assert (last and last[0]) == found
    if found is not told:
        assert last == (State.UNKNOWN, NOW) and request.switched == {A: (State.UNKNOWN, NOW)}


def dated(**fields: Any) -> Request:
    return asked("reboot", A, accepted=4900.0, accepted_uptime=7.0, **fields)


@pytest.mark.parametrize(("accepted", "wrong"), [(99.0, False), (100.0, False), (101.0, True)])
def test_times_of_this_start_of_the_machine_stay(resumption: Resumption, accepted: float, wrong: bool) -> None:
    request = asked("reboot", A, boot="this", accepted=4900.0, accepted_uptime=accepted, off_ended=4950.0, latest=9e9)
    assert resumption._date(request) is wrong
    assert (request.boot, request.accepted_uptime, request.off_ended_uptime) == ("this", accepted, None)


@pytest.mark.parametrize("boot", ["", "other"])
@pytest.mark.parametrize(("latest", "wrong"), [(4999.0, False), (5000.0, False), (5001.0, True)])
def test_times_of_another_start_count_by_the_wall_clock(
    resumption: Resumption, boot: str, latest: float, wrong: bool
) -> None:
    soft = Soft(600.0, True, {A: Asked(5030.0, 9e6)})
    request = dated(boot=boot, latest=latest, off_ended=4950.0, off_ended_uptime=9.0, soft=soft)
    assert resumption._date(request) is wrong
    assert (request.boot, request.accepted_uptime, request.off_ended_uptime) == ("this", 0.0, 50.0)
    assert soft.asked == {A: Asked(5030.0, 130.0)}
    request = dated(boot=boot)
    assert resumption._date(request) is False and request.off_ended_uptime is None


def test_a_machine_that_does_not_say_which_start_this_is_may_have_been_started_since(resumption: Resumption) -> None:
    resumption._clock.boot = ""
    request = dated(boot="")
    assert resumption._date(request) is False and (request.boot, request.accepted_uptime) == ("", 0.0)
