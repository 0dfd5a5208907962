# SPDX-License-Identifier: MIT
"""`Inventory`: what is known of outlets and PDUs, from where, and how it is put together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.model import Config
from pdudaemon.config.nodes import Node
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.inventory import MOST_OUTLETS, Inventory, NamesUnknown
from pdudaemon.engine.outlets import NOTHING, Found, Known, KnownPDU, record
from pdudaemon.errors import DeviceTimeout, PermanentError, RequestError
from pdudaemon.power import Action, Outlet, State
from tests.support.rack import Rack, awaited, submitted


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    one = Rack(tmp_path, {"a": {"outlets": 3}, "b": {"outlets": 3}})
    yield one
    one.stop()


@pytest.fixture
def inventory(rack: Rack) -> Inventory:
    return Inventory(rack.config(), Events(Clock()), Clock())


def read(inventory: Inventory, *outlets: OutletReading, **more: Any) -> KnownPDU:
    """Have the PDU ``a`` tell some outlets; return what is known of it."""
    inventory.surveyed("a", inventory.pdu("a"), Found([*outlets], more.get("inlets", []), more.get("identity")))
    found = inventory.pdu("a")
    assert found is not None
    return found


def told(inventory: Inventory, before: int) -> list[tuple[str, str]]:
    """Return the ports and states of which events have told since."""
    found = inventory._events.since(before)[0]
    return [(event.outlets[0].port, event.known.state.value) for event in found if event.known is not None]


def test_what_a_switching_told_is_known_and_outlives_the_daemon(rack: Rack) -> None:
    outlet = Outlet("b", "1")
    assert rack.dispatcher.inventory.outlet(outlet) == NOTHING
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("b")), 60)
    known = rack.dispatcher.inventory.outlet(outlet)
    assert (known.state, known.source) == (State.ON, "commanded") and known.time is not None
    rack.restart()
    assert rack.dispatcher.inventory.outlet(outlet) == known
    assert rack.dispatcher.inventory.last_told("b") == {"1": (State.ON, known.time)}
    assert rack.dispatcher.inventory.last_told("a") == rack.dispatcher.inventory.last_told("nobody") == {}


def test_a_status_that_was_read_is_known(rack: Rack) -> None:
    rack.seen["a"] = "f"
    rack.dispatcher.look(rack.target("a"))
    known = rack.dispatcher.inventory.outlet(Outlet("a", "1"))
    assert (known.state, known.source) == (State.OFF, "device")


def test_a_failed_switching_leaves_it_unknown(rack: Rack) -> None:
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("a")), 60)
    rack.refusing.add(("a", "off"))
    with pytest.raises(Exception, match="refused"):
        awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("a")), 60)
    assert rack.dispatcher.inventory.outlet(Outlet("a", "1")).state is State.UNKNOWN


def test_all_that_a_device_tells_is_kept_in_its_order(inventory: Inventory) -> None:
    identity = Identity("APC", "AP8941", "5A1", "v6.5")
    inlets = [InletReading("total", watts=70.0)]
    pdu = read(
        inventory,
        OutletReading("2", "router", State.ON, 12.5, 230.1, 0.1, 4711.0),
        OutletReading("1", None, State.OFF, 0.0),
        inlets=inlets,
        identity=identity,
    )
    assert [*pdu.outlets] == ["2", "1", "3"]
    router = pdu.outlets["2"]
    assert router[:8] == (State.ON, "device", router.time, "router", 12.5, 230.1, 0.1, 4711.0)
    assert router.time == router.read == pdu.read
    assert pdu.outlets["1"].watts == 0.0 and pdu.outlets["1"].volts is None
    assert pdu.outlets["3"] == NOTHING
    assert (pdu.identity, pdu.inlets) == (identity, tuple(inlets))
    assert read(inventory, OutletReading("2")).identity == identity


def test_a_device_that_cannot_tell_the_state_leaves_what_was_told(inventory: Inventory) -> None:
    inventory.told(Outlet("a", "1"), State.ON, 1000.0)
    known = read(inventory, OutletReading("1", watts=5.0)).outlets["1"]
    assert (known.state, known.source, known.time, known.watts) == (State.ON, "commanded", 1000.0, 5.0)
    known = read(inventory, OutletReading("1", state=State.UNKNOWN)).outlets["1"]
    assert (known.state, known.source, known.watts) == (State.UNKNOWN, "device", None)


def test_an_outlet_that_has_gone_from_the_device_is_not_shown(inventory: Inventory) -> None:
    read(inventory, OutletReading("7", "module"), OutletReading("8", state=State.ON))
    inventory.told(Outlet("a", "8"), State.OFF, 1000.0)
    pdu = read(inventory, OutletReading("1"))
    assert "7" not in pdu.outlets and pdu.outlets["8"] == Known(State.OFF, "commanded", 1000.0)


def test_memory_is_bounded(inventory: Inventory, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            pdu = read(inventory, *(OutletReading(str(port)) for port in range(100_000)))
    assert len(pdu.outlets) == MOST_OUTLETS
    assert len(caplog.records) == 1 and "100000 outlets" in caplog.text
    for port in range(MOST_OUTLETS * 2):
        inventory.told(Outlet("a", f"port{port}"), State.ON, 1.0)
    assert len(pdu.outlets) == MOST_OUTLETS


@pytest.mark.parametrize(
    ("inlets", "watts"),
    [
        ([], 30.0),
        ([InletReading("total", 100.0), InletReading("L1", 60.0, kind="phase")], 100.0),
        ([InletReading("L1", 60.0, kind="phase"), InletReading("L2", 50.5, kind="phase")], 110.5),
        ([InletReading("total"), InletReading("B1", 20.0, kind="bank")], 20.0),
    ],
)
def test_what_the_whole_draws(inventory: Inventory, inlets: list[InletReading], watts: float) -> None:
    assert read(inventory, OutletReading("1")).watts is None
    outlets = OutletReading("1", watts=10.0), OutletReading("2", watts=20.0), OutletReading("3")
    assert read(inventory, *outlets, inlets=inlets).watts == watts


def test_what_was_drawn_is_kept_of_the_whole_and_of_each_outlet_that_tells(inventory: Inventory) -> None:
    pdu = read(inventory, OutletReading("1", watts=10.0), OutletReading("2"), inlets=[InletReading("total", 12.0)])
    now = inventory._clock.wall()
    assert {port: [watts for _, watts in trail.points(now)] for port, trail in pdu.trails.items()} == {
        "": [12.0],
        "1": [10.0],
    }


def test_events_tell_what_has_changed_and_nothing_else(inventory: Inventory) -> None:
    before = inventory._events.last
    read(inventory, OutletReading("1", "web", State.ON, 100.0), OutletReading("2", None, State.OFF))
    assert told(inventory, before) == [("1", "on"), ("2", "off")]
    before = inventory._events.last
    read(inventory, OutletReading("1", "web", State.ON, 103.0), OutletReading("2", None, State.OFF))
    assert told(inventory, before) == []
    read(inventory, OutletReading("1", "web", State.ON, 105.5), OutletReading("2", None, State.OFF))
    assert told(inventory, before) == [("1", "on")]
    before = inventory._events.last
    read(inventory, OutletReading("1", "mail", State.ON, 105.5), OutletReading("2", None, State.OFF, 0.0))
    assert told(inventory, before) == [("1", "on"), ("2", "off")]


def test_what_an_outlet_drew_before_it_was_switched_is_not_told_of_it_since(inventory: Inventory) -> None:
    port, watts = Outlet("a", "1"), OutletReading("1", "router", State.OFF, 0.0, 230.0, 0.0, 70.0)
    read(inventory, watts)
    inventory.told(port, State.OFF, 5.0)
    assert inventory.outlet(port)[4:8] == (0.0, 230.0, 0.0, 70.0)
    inventory.told(port, State.ON, 6.0)
    assert inventory.outlet(port)[3:8] == ("router", None, 230.0, None, 70.0)
    before = inventory._events.last
    inventory.told(port, State.ON, 7.0, "device")
    read(inventory, replace(watts, state=State.ON))  # as much as those who watch had heard before
    (_, last) = inventory._events.since(before)[0]
    assert last.known is not None and last.known.watts == 0.0


def test_slow_changes_are_told_once_they_are_large(inventory: Inventory) -> None:
    read(inventory, OutletReading("1", state=State.ON, watts=100.0))
    before = inventory._events.last
    for watts in range(101, 111):
        read(inventory, OutletReading("1", state=State.ON, watts=watts))
    assert len(told(inventory, before)) == 1


def test_coming_and_going_is_one_line_each(inventory: Inventory, caplog: pytest.LogCaptureFixture) -> None:
    pdu = inventory.pdu("a")
    assert pdu is not None and pdu.reachable is None
    with caplog.at_level(logging.INFO):
        inventory.answered("a", "ready")
        assert pdu.reachable and not caplog.records
        for _ in range(3):
            inventory.failed("a", "ready", DeviceTimeout("a: no answer within 5 s"), reading=True)
        assert (pdu.reachable, pdu.trouble, pdu.failures) == (False, "no answer within 5 s", 3)
        assert caplog.messages == ["a does not answer when it is read: no answer within 5 s"]
        inventory.answered("a", "ready", reading=True)
        inventory.answered("a", "ready")
    assert caplog.messages[1:] == ["a answers again"] and (pdu.reachable, pdu.trouble, pdu.failures) == (True, "", 0)


def test_one_that_can_be_switched_and_not_be_read_does_not_fill_the_log(
    inventory: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    pdu = inventory.pdu("a")
    assert pdu is not None
    with caplog.at_level(logging.INFO):
        for failures in range(1, 4):
            inventory.failed("a", "ready", PermanentError("a: no such table"), reading=True)
            assert pdu.reachable is False and pdu.failures == failures
            inventory.answered("a", "ready")
            assert pdu.reachable is True and pdu.failures == failures
        assert caplog.messages == ["a does not answer when it is read: no such table"]
        inventory.answered("a", "ready", reading=True)
    assert caplog.messages[1:] == ["a answers again"]


def test_one_that_cannot_be_read_at_all_goes_and_comes_by_being_switched(
    inventory: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            inventory.failed("a", "ready", DeviceTimeout("a: no answer within 5 s"))
        for _ in range(2):
            inventory.answered("a", "ready")
    assert caplog.messages == ["a does not answer: no answer within 5 s", "a answers again"]


def test_a_port_that_is_refused_says_nothing_of_the_pdu(inventory: Inventory) -> None:
    inventory.answered("a", "ready")
    inventory.failed("a", "ready", PermanentError("a: there is no port 9"))
    assert inventory.pdu("a").reachable  # type: ignore[union-attr]


def test_another_pdu_by_the_same_name_has_nothing_of_the_former_but_what_it_was_told(rack: Rack) -> None:
    inventory = rack.dispatcher.inventory
    read(inventory, OutletReading("2", "router", State.ON), identity=Identity("APC"))
    inventory.told(Outlet("a", "1"), State.ON, 1000.0)
    before = inventory.pdu("a")
    rack.dispatcher.reload(replace(rack.dispatcher.config))
    assert inventory.pdu("a") is before
    rack.pdus["a"]["retries"] = 7
    rack.dispatcher.reload(rack.config())
    now = inventory.pdu("a")
    assert now is not None and now.identity is None and now.read is None
    assert now.outlets == {"1": Known(State.ON, "commanded", 1000.0), "2": NOTHING, "3": NOTHING}
    last = inventory._events.last
    inventory.surveyed("a", before, Found([OutletReading("2", "late", State.OFF)], []))
    assert now.read is None and told(inventory, last) == []
    inventory.surveyed("nobody", None, Found([OutletReading("2")], []))
    del rack.pdus["a"]
    rack.dispatcher.reload(rack.config())
    assert inventory.pdu("a") is None and inventory.outlet(Outlet("a", "1")) == NOTHING


def test_a_pdu_that_a_reload_disables_is_told(rack: Rack) -> None:
    before = rack.dispatcher.events.last
    rack.pdus["a"]["retries"] = "many"
    rack.dispatcher.reload(rack.config())
    told = [(event.pdu, event.state) for event in rack.dispatcher.events.since(before)[0] if event.pdu]
    assert told == [("a", "leaving")] or told == [("a", "disabled")]


def by_name(rack: Rack, name: str, pdu: str = "a") -> Outlet:
    """Return the outlet of a PDU that a name means."""
    config = rack.dispatcher.config
    (outlet,) = rack.dispatcher.inventory.resolved(config.target(pdu, f"name:{name}"), config).outlets
    return outlet


@pytest.fixture
def named(inventory: Inventory) -> Inventory:
    """An inventory that has read the names of one PDU."""
    read(
        inventory,
        *(OutletReading(port, name) for port, name in zip("1234", ["router", "Board 7", *["twin"] * 2], strict=True)),
    )
    return inventory


@pytest.mark.parametrize(("name", "port"), [("router", "1"), ("Board 7", "2"), ("  Board   7 ", "2")])
def test_an_outlet_by_its_name(rack: Rack, named: Inventory, name: str, port: str) -> None:
    config = rack.config()
    assert named.resolved(config.target("a", f"name:{name}"), config).outlets == (Outlet("a", port),)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("twin", "a: 2 outlets are called 'twin': ports 3, 4"),
        ("ruoter", "a: there is no outlet called 'ruoter'; did you mean 'router'"),
        ("Router", "a: there is no outlet called 'Router'"),
    ],
)
def test_a_name_that_means_no_outlet_or_several(rack: Rack, named: Inventory, name: str, refused: str) -> None:
    config = rack.config()
    with pytest.raises(RequestError, match=refused):
        named.resolved(config.target("a", f"name:{name}"), config)


def test_a_name_that_is_not_known_yet(rack: Rack, inventory: Inventory) -> None:
    rack.pdus["new"] = {"driver": "dummy"}  # to the configuration, not to the inventory yet
    config = rack.config()
    for name in ("a", "new"):
        text = f"^{name}: the names of its outlets have not been read yet; ask again in some seconds$"
        with pytest.raises(NamesUnknown, match=text):
            inventory.resolved(config.target(name, "name:router"), config)
    inventory.failed("a", "ready", DeviceTimeout("a: no answer within 5 s"))
    with pytest.raises(NamesUnknown, match="not been read yet: no answer within 5 s"):
        inventory.resolved(config.target("a", "name:router"), config)


def test_names_that_were_read_long_ago_are_read_again(rack: Rack) -> None:
    """Who was called router then may be another one by now."""
    config, inventory = rack.dispatcher.config, rack.dispatcher.inventory
    target = config.target("a", "name:router")
    rack.clock.stand()
    read(inventory, OutletReading("1", "router"))
    rack.clock.pass_by(3599)
    assert inventory.resolved(target, config).outlets == (Outlet("a", "1"),)
    rack.clock.pass_by(2)
    with pytest.raises(NamesUnknown, match="not been read lately"):
        inventory.resolved(target, config)


def test_one_outlet_by_its_name_and_its_port_is_one(rack: Rack, named: Inventory) -> None:
    config = replace(rack.config(), nodes={"x": Node("x", (Outlet("a", "1"), Outlet("a", "name:router")))})
    assert named.resolved(config.node("x"), config).outlets == (Outlet("a", "1"),)


def spelled(inventory: Inventory, **changes: Any) -> Config:
    """Have an inventory go on with a configuration that has changed."""
    config = replace(inventory._config, **changes, device_names={})
    inventory.change(config, lambda name: "ready")
    return config


def test_a_lock_holds_however_the_outlet_is_spelled(named: Inventory) -> None:
    config = spelled(named, locked={Outlet("a", "name:router"): "", Outlet("a", "2"): "mine"})
    for port in ("1", "name:router", "2", "name:Board 7"):
        assert named.resolved(config.target("a", port), config).locked, port
    assert not named.resolved(config.target("a", "3"), config).locked
    read(named, OutletReading("1", "other"), OutletReading("3", "router"))
    assert named.resolved(config.target("a", "3"), config).locked
    assert not named.resolved(config.target("a", "1"), config).locked


def test_nothing_is_switched_before_it_is_known_what_a_lock_by_name_means(rack: Rack, inventory: Inventory) -> None:
    config = spelled(inventory, locked={Outlet("a", "name:router"): ""})
    for port in ("1", "name:other"):
        with pytest.raises(NamesUnknown):
            inventory.resolved(config.target("a", port), config)
    assert inventory.resolved(config.target("a", "1"), config, switching=False)
    assert inventory.resolved(config.target("b", "1"), config)
    read(inventory, OutletReading("1", "router"), OutletReading("2", "other"))
    assert inventory.resolved(config.target("a", "1"), config).locked
    assert not inventory.resolved(config.target("a", "name:other"), config).locked


def test_nodes_and_locks_of_an_outlet_are_told_however_it_is_spelled(named: Inventory) -> None:
    router = Outlet("a", "name:router")
    nodes = {"x": Node("x", (router,)), "y": Node("y", (Outlet("a", "1"),))}
    config = spelled(named, nodes=nodes, locked={router: ""})
    told = record(Outlet("a", "1"), named.outlet(Outlet("a", "1")), config, 0.0)
    assert told["nodes"] == ["y", "x"] and told["locked"] and "locked by the configuration" in told["reason"]
    read(named, OutletReading("1", None), OutletReading("2", "router"))
    assert config.nodes_of(Outlet("a", "1")) == ["y"] and config.nodes_of(Outlet("a", "2")) == ["x"]
    assert config.device_names == {Outlet("a", "2"): "router"}
