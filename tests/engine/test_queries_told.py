# SPDX-License-Identifier: MIT
"""What is told of a state: by the device, by what it was last told, or why it is not known; once, together for a node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pdudaemon.config.model import Config
from pdudaemon.engine.queries import Answer, Look
from pdudaemon.errors import Busy, DeviceTimeout, PDUDaemonError
from pdudaemon.power import Action, Outlet, Reading, State
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

A, B = Outlet("a", "1"), Outlet("b", "1")
ON = Reading(State.ON, "device", 5.0)
OFF = Reading(State.OFF, "device", 7.0)


class Told(list[Answer]):
    """What one who looks was told."""

    def look(self, *outlets: Outlet) -> Look:
        return Look(outlets, self.append)


def test_one_outlet_is_told_as_it_is() -> None:
    told = Told()
    look = told.look(A)
    look.heard(A, ON)
    assert told == [ON] and look.ended
    look.heard(A, OFF)
    look.late(3.0)
    look.refuse(Busy("no"))
    assert told == [ON], "it is told once"


def test_of_a_node_all_feeds_are_waited_for() -> None:
    told = Told()
    look = told.look(A, B)
    look.heard(A, OFF)
    look.heard(A, OFF)
    assert told == [] and not look.ended
    look.heard(B, ON)
    (found,) = told
    assert isinstance(found, Reading) and (found.state, found.source, found.time) == (State.ON, "device", 5.0)
    assert found.feeds == ((A, OFF), (B, ON)) and found.mixed == "a port 1 is off; b port 1 is on"


def test_what_has_come_in_time_is_told() -> None:
    told = Told()
    look = told.look(A, B)
    look.heard(B, ON)
    look.late(2.5)
    (found,) = told
    assert isinstance(found, Reading) and found.state is State.ON
    assert found.mixed == "no answer within 2.5 s; b port 1 is on"
    look.heard(A, OFF)
    assert len(told) == 1
    alone = Told()
    alone.look(A).late(2.5)
    assert [(type(each), str(each)) for each in alone] == [(DeviceTimeout, "a: no answer within 2.5 s")]


def test_what_is_refused_is_told_once() -> None:
    told = Told()
    look = told.look(A, B)
    error = Busy("no")
    look.refuse(error)
    look.refuse(Busy("again"))
    look.heard(A, ON)
    look.heard(B, ON)
    look.late(1.0)
    assert told == [error] and look.ended


class Mute(Rack):
    """A rack whose PDU ``b`` cannot tell its state."""

    def config(self) -> Config:
        found = super().config()
        pdus = {
            name: replace(pdu, traits=replace(pdu.traits, reads_state=name != "b")) for name, pdu in found.pdus.items()
        }
        return replace(found, pdus=pdus)


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[Mute]:
    one = Mute(tmp_path, {"a": {"timeout": 7}, "b": {"timeout": 9}})
    yield one
    for held in one.held.values():
        held.set()
    one.stop()


def test_a_device_that_cannot_tell_is_what_it_was_last_told(mute: Mute) -> None:
    nothing = mute.dispatcher.look(mute.target("b"))
    assert nothing == Reading(State.UNKNOWN, "none", None)
    assert awaited(mute.dispatcher, submitted(mute.dispatcher, Action.OFF, mute.target("b")), 30)
    found = mute.dispatcher.look(mute.target("b"))
    assert (found.state, found.source) == (State.OFF, "commanded")
    assert found.time is not None and abs(found.time - mute.clock.wall()) < 60
    mute.seen["a"] = "o"
    both = mute.dispatcher.look(mute.target("a", "b"))
    assert (both.state, both.source, both.mixed) == (State.ON, "device", "a port 1 is on; b port 1 is off")


def test_a_busy_device_that_cannot_tell_holds_up_nobody_who_looks(mute: Mute) -> None:
    mute.hold("b")
    assert mute.dispatcher.look(mute.target("b"), 5).state is State.UNKNOWN


def test_how_long_a_state_is_waited_for(mute: Mute) -> None:
    patience = mute.dispatcher._queries.patience
    assert [patience(mute.target(*names)) for names in ("a", "b", "ab", "ba")] == [7, 9, 9, 9]
    with pytest.raises(Busy, match="gone is not configured any more"):
        patience(mute.target("gone"))


def test_a_name_that_is_not_known_is_refused(mute: Mute) -> None:
    told = Told()
    mute.dispatcher.ask([told.look(Outlet("a", "name:router"))])
    (found,) = told
    assert isinstance(found, PDUDaemonError) and "the names of its outlets have not been read yet" in str(found)


def test_what_is_locked_by_a_name_that_nobody_knows_may_be_looked_at(mute: Mute) -> None:
    config = replace(mute.dispatcher.config, locked={Outlet("a", "name:router"): ""}, device_names={})
    mute.dispatcher.reload(config)
    mute.seen["a"] = "o"
    assert mute.dispatcher.look(mute.target("a"), 30).state is State.ON


def test_those_who_look_at_many_are_a_crowd(mute: Mute) -> None:
    mute.hold("a")
    first, second, third = Told(), Told(), Told()
    mute.dispatcher.ask([first.look(A), second.look(Outlet("a", "2"))])
    mute.dispatcher.ask([third.look(Outlet("a", "3"))])
    pending = {query.outlet.port: query.crowd for query in mute.dispatcher._queries._pending.values()}
    assert pending["1"] is pending["2"] is not None and pending["3"] is None
    mute.let_go("a")
    eventually(lambda: first and second and third)


def test_who_waits_with_a_thread_hears_the_error(mute: Mute, monkeypatch: pytest.MonkeyPatch) -> None:
    mute.hold("a")
    with pytest.raises(DeviceTimeout, match=r"a: no answer within 0\.1 s"):
        mute.dispatcher.look(mute.target("a"), 0.1)
    opened = threading.Timer(0.1, mute.let_go, ("a",))
    opened.start()
    assert mute.dispatcher.look(mute.target("a")).state is State.ON
    opened.join()


def test_when_the_daemon_stops_all_are_refused(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    told = Told()
    one.dispatcher.ask([told.look(A)])
    one.stop()
    eventually(lambda: told)
    assert isinstance(told[0], PDUDaemonError) and len(told) == 1
    one.let_go("a")
