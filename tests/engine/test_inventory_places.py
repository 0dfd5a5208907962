# SPDX-License-Identifier: MIT
"""`Inventory`: where an outlet is, however it is spelled, what it begins with, and what an answer of its PDU says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pdudaemon.config.nodes import Node
from pdudaemon.drivers.readings import InletReading, OutletReading
from pdudaemon.engine import inventory as engine_inventory
from pdudaemon.engine.events import Events
from pdudaemon.engine.inventory import Inventory, NamesUnknown
from pdudaemon.engine.outlets import NOTHING, Found, Known, KnownPDU
from pdudaemon.errors import DeviceTimeout, PermanentError, RequestError
from pdudaemon.power import Action, Outlet, State
from tests.support.rack import Rack, awaited, submitted

A1 = Outlet("a", "1")


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    one = Rack(tmp_path, {"a": {"outlets": 3}, "b": {"outlets": 3}})
    yield one
    one.stop()


@pytest.fixture
def inventory(rack: Rack) -> Inventory:
    return Inventory(rack.config(), Events(rack.clock), rack.clock)


def known(inventory: Inventory, name: str = "a") -> KnownPDU:
    found = inventory.pdu(name)
    assert found is not None
    return found


def name_them(inventory: Inventory, *names: str) -> None:
    outlets = [OutletReading(str(port), name, State.ON) for port, name in enumerate(names, 1)]
    inventory.surveyed("a", inventory.pdu("a"), Found(outlets, []))


def test_an_outlet_is_found_by_its_port_if_that_is_known(rack: Rack, inventory: Inventory) -> None:
    config = rack.dispatcher.config

    def place(pdu: str, port: str) -> Outlet:
        return inventory.place(Outlet(pdu, port), config)

    assert place("a", "1") == A1 and place("a", "name:router") == Outlet("a", "name:router")
    name_them(inventory, "router", "twin", "twin")
    assert place("a", "name:router") == A1
    assert place("a", "name:twin") == Outlet("a", "name:twin") and place("a", "name:x") == Outlet("a", "name:x")
    assert place("gone", "name:router") == Outlet("gone", "name:router")
    assert place("b", "name:router") == Outlet("b", "name:router")


def test_it_begins_with_what_was_told_as_far_as_there_is_room(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_inventory, "MOST_OUTLETS", 4)
    told = {Outlet("a", port): (State.ON, 5.0) for port in ("x", "y", "1")}
    inventory.remember({**told, Outlet("gone", "1"): (State.ON, 5.0)})
    outlets = known(inventory).outlets
    assert [*outlets] == ["1", "2", "3", "x"] and outlets["1"] == outlets["x"] == Known(State.ON, "commanded", 5.0)
    assert outlets["2"] == NOTHING and inventory.pdu("gone") is None
    inventory.told(Outlet("a", "z"), State.ON, 6.0)
    inventory.told(A1, State.OFF, 6.0)
    assert "z" not in outlets and outlets["1"].state is State.OFF


def state_of(name: str) -> str:
    return "ready"


def test_what_a_device_answers_says_that_it_is_there(inventory: Inventory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    events = inventory._events
    begun = events.last

    def heard(state: State | None = None, error: object = None) -> list[tuple[str, bool | None]]:
        nonlocal begun
        inventory.heard(A1, state_of, state, error)  # type: ignore[arg-type]
        found, begun = events.since(begun)[0], events.last
        return [(event.kind, event.reachable) for event in found]

    assert heard() == [("pdu", True)] and heard() == []
    assert heard(State.ON) == [("outlet", None)] and heard(State.ON) == []
    assert inventory.outlet(A1)[:2] == (State.ON, "device")
    assert heard(error=DeviceTimeout("a: no answer")) == [("pdu", False)]
    assert heard(error=DeviceTimeout("a: no answer")) == [] and known(inventory).trouble == "no answer"
    assert heard(State.OFF) == [("pdu", True), ("outlet", None)] and known(inventory).trouble == ""
    assert caplog.messages == ["a does not answer: no answer", "a answers again"]
    assert heard(error=PermanentError("a: there is no port 1")) == [] and known(inventory).reachable
    inventory.heard(Outlet("gone", "1"), state_of, State.ON, None)
    inventory.heard(Outlet("gone", "1"), state_of, None, DeviceTimeout("gone: no answer"))
    assert events.last == begun


def test_an_outlet_that_feeds_a_node_is_shown_by_its_port_though_no_device_has_told_it(rack: Rack) -> None:
    rack.pdus["a"]["outlets"] = 2
    feeds = (Outlet("a", "7"), Outlet("a", "name:router"))
    config = replace(rack.config(), nodes={"x": Node("x", feeds)})
    assert [*known(Inventory(config, Events(rack.clock), rack.clock)).outlets] == ["1", "2", "7"]


def test_of_a_pdu_that_there_is_no_more_nothing_is_counted(rack: Rack) -> None:
    for name in ("a", "b"):
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target(name)), 60)
    del rack.pdus["a"]
    rack.dispatcher.reload(rack.config())
    assert {name for name, *_ in rack.dispatcher.events.figures.tries} == {"b"}


def test_only_what_was_switched_is_to_be_read_again_soon(inventory: Inventory) -> None:
    """Not what has been read."""
    inventory.told(A1, State.ON, 5.0, "device")
    assert known(inventory).switched == float("-inf")
    inventory.told(A1, State.ON, 5.0)
    assert known(inventory).switched > 0


def test_there_is_a_bound_to_inlets_as_well(inventory: Inventory, caplog: pytest.LogCaptureFixture) -> None:
    many = [InletReading(str(number), kind="bank") for number in range(engine_inventory.MOST_INLETS + 1)]
    for _ in range(2):
        inventory.surveyed("a", inventory.pdu("a"), Found([OutletReading("1")], many))
    assert len(known(inventory).inlets) == engine_inventory.MOST_INLETS and known(inventory).cut
    assert caplog.messages == ["a tells of 1 outlets and 201 inlets: 2000 and 200 of them are kept"]
    inventory.surveyed("b", inventory.pdu("b"), Found([OutletReading("1")], many[:-1]))
    assert not known(inventory, "b").cut


def test_what_is_elsewhere_is_shown_and_not_told(inventory: Inventory) -> None:
    inventory.elsewhere = {"s/p": KnownPDU({"1": Known(State.ON)}), "a": KnownPDU({})}
    assert inventory.outlet(Outlet("s/p", "1")).state is State.ON and inventory.outlet(Outlet("s/p", "2")) == NOTHING
    assert known(inventory).outlets, "what is here goes before"
    inventory.told(Outlet("s/p", "1"), State.OFF, 5.0)
    assert inventory.outlet(Outlet("s/p", "1")).state is State.ON and not inventory.knows_names("s/p")


def test_how_old_names_may_be(rack: Rack, inventory: Inventory) -> None:
    rack.clock.stand()
    config = rack.dispatcher.config
    target = config.target("a", "name:router")
    name_them(inventory, "router")
    for passed in (engine_inventory.NAMES_LAST - 1.0, -2 * engine_inventory.NAMES_LAST + 2.0):
        rack.clock.wall_off += passed  # also by a clock that was set back
        assert inventory.resolved(target, config).outlets == (A1,)
    rack.clock.wall_off -= 2.0
    with pytest.raises(NamesUnknown, match="the names of its outlets have not been read lately; ask again") as refused:
        inventory.resolved(target, config)
    assert refused.value.pdu == "a"
    with pytest.raises(RequestError, match="not been read yet"):
        inventory.resolved(config.target("b", "name:router"), config)
