# SPDX-License-Identifier: MIT
"""`Inventory`: how much is kept of what is heard, what a reload leaves of it, and what is said of whoever does not answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.engine import inventory as module
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.inventory import NAMES_LAST, Inventory, NamesUnknown
from pdudaemon.engine.outlets import NOTHING, Found, Known, KnownPDU
from pdudaemon.errors import DeviceError, PermanentError, RequestError, TransientError
from pdudaemon.power import Outlet, State, Target

A, A2, A9, B = Outlet("a", "1"), Outlet("a", "2"), Outlet("a", "9"), Outlet("b", "1")
Event = tuple[Any, ...]


class Lab(Clock):
    """What is known of two PDUs of two outlets each, by a clock that is set; of each PDU four at most are kept."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.path = folder / "conf"
        monkeypatch.setattr(module, "MOST_OUTLETS", 4)
        monkeypatch.setattr(module, "MOST_INLETS", 2)
        self.config = self.load()
        self.events = Events(self)
        self.inventory = Inventory(self.config, self.events, self)
        self._seen = self.events.last

    def load(self, **pdus: Any) -> Config:
        every = {name: {"driver": "dummy", "outlets": 2, **pdus.get(name, {})} for name in "ab" if pdus.get(name, 1)}
        self.path.write_text(json.dumps({"pdus": every}))
        return reader.load(str(self.path))

    def wall(self) -> float:
        return 1_000_000.0 + self.now

    def uptime(self) -> float:
        return self.now

    def pdu(self, name: str = "a") -> KnownPDU:
        found = self.inventory.pdu(name)
        assert found is not None
        return found

    def read(self, *outlets: OutletReading, inlets: tuple[InletReading, ...] = (), identity: Any = None) -> KnownPDU:
        self.inventory.surveyed("a", self.pdu(), Found([*outlets], [*inlets], identity))
        return self.pdu()

    def told(self) -> list[Event]:
        """Return what was published since the last time."""
        found = self.events.since(self._seen)[0]
        self._seen = self.events.last
        return [
            (str(each.outlets[0]), each.known.state.value, each.known.watts)
            if each.known is not None
            else (each.pdu, each.state, each.reason, each.reachable)
            for each in found
        ]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def ready(_: str) -> str:
    return "ready"


# How much.


def test_of_what_is_remembered_so_much_is_kept(lab: Lab) -> None:
    """What is known to be there in any case."""
    every = [*(Outlet("a", str(port)) for port in (7, 8, 9, 10)), A, Outlet("nobody", "1")]
    lab.inventory.remember(dict.fromkeys(every, (State.OFF, 5.0)))
    assert [*lab.pdu().outlets] == ["1", "2", "7", "8"]
    assert lab.inventory.outlet(A) == Known(State.OFF, "commanded", 5.0) and lab.inventory.outlet(A2) == NOTHING
    assert lab.inventory.last_told("a") == dict.fromkeys(("1", "7", "8"), (State.OFF, 5.0))
    assert lab.inventory.last_told("b") == lab.inventory.last_told("nobody") == {}
    assert lab.inventory.outlet(Outlet("nobody", "1")) == NOTHING


def test_of_what_is_told_so_much_is_kept(lab: Lab) -> None:
    for port in (7, 8, 9):
        lab.inventory.told(Outlet("a", str(port)), State.ON, 5.0)
    lab.inventory.told(A, State.ON, 6.0)
    lab.inventory.told(Outlet("nobody", "1"), State.ON, 6.0)
    assert [*lab.pdu().outlets] == ["1", "2", "7", "8"] and lab.inventory.outlet(A).time == 6.0
    assert [each[0] for each in lab.told()] == ["a port 7", "a port 8", "a port 1"]


@pytest.mark.parametrize(
    ("outlets", "inlets", "kept", "logged"),
    [(4, 2, (4, 2), False), (5, 2, (4, 2), True), (4, 3, (4, 2), True), (9, 9, (4, 2), True), (1, 1, (1, 1), False)],
)
def test_of_what_is_read_so_much_is_kept_and_the_rest_told_of_once(
    lab: Lab, caplog: pytest.LogCaptureFixture, outlets: int, inlets: int, kept: tuple[int, int], logged: bool
) -> None:
    for _ in range(2):
        pdu = lab.read(
            *(OutletReading(f"x{port}") for port in range(outlets)),
            inlets=tuple(InletReading(f"L{number}") for number in range(inlets)),
        )
    assert (sum(port.startswith("x") for port in pdu.outlets), len(pdu.inlets)) == kept
    told = f"a tells of {outlets} outlets and {inlets} inlets: 4 and 2 of them are kept"
    assert caplog.messages == [told] * logged and pdu.cut is logged


def test_what_a_device_does_not_tell_stays_where_there_is_room(lab: Lab) -> None:
    """If it never did, or if the outlet was told something; not what it has ceased to tell."""
    lab.read(OutletReading("7", state=State.ON), OutletReading("8", state=State.ON))
    lab.inventory.told(Outlet("a", "8"), State.OFF, 5.0)
    assert [*lab.pdu().outlets] == ["7", "8", "1", "2"]
    pdu = lab.read(OutletReading("1", "one"))
    assert [*pdu.outlets] == ["1", "8", "2"]
    assert pdu.outlets["8"] == Known(State.OFF, "commanded", 5.0) and pdu.outlets["2"] == NOTHING
    pdu = lab.read(*(OutletReading(f"x{port}") for port in range(3)))
    assert [*pdu.outlets] == ["x0", "x1", "x2", "8"]
    pdu = lab.read(*(OutletReading(f"x{port}") for port in range(4)))
    assert [*pdu.outlets] == ["x0", "x1", "x2", "x3"]


# What is learned.


def test_all_that_is_read_is_kept_with_its_time(lab: Lab) -> None:
    lab.now += 5
    identity = Identity("APC", "AP8941")
    pdu = lab.read(
        OutletReading("1", "router", State.ON, 12.0),
        OutletReading("2"),
        inlets=(InletReading("L1", 20.0),),
        identity=identity,
    )
    assert pdu.read == lab.wall() and pdu.identity == identity and [each.name for each in pdu.inlets] == ["L1"]
    assert pdu.outlets["1"][:5] == (State.ON, "device", lab.wall(), "router", 12.0) and pdu.outlets["1"].shown == 12.0
    assert [*pdu.trails] == ["", "1"] and pdu.watts == 20.0
    assert "2" not in pdu.trails
    assert lab.told() == [("a port 1", "on", 12.0)]
    lab.read(OutletReading("1", "router", State.ON, 12.1), OutletReading("2"))
    assert lab.told() == [] and pdu.outlets["1"].shown == 12.0 and pdu.identity == identity
    other = Identity("APC", "another")
    assert lab.read(identity=other).identity == other and pdu.inlets == () and pdu.watts is None


def test_what_is_read_of_another_configuration_is_not_kept(lab: Lab) -> None:
    former = lab.pdu()
    lab.inventory.surveyed("a", None, Found([OutletReading("7")], []))
    lab.inventory.change(lab.load(a={"outlets": 1}), ready)
    lab.inventory.surveyed("a", former, Found([OutletReading("7")], []))
    assert [*lab.pdu().outlets] == ["1"] and lab.pdu().read is None


@pytest.mark.parametrize("source", ["device", "commanded"])
def test_what_an_outlet_is_told_is_known_and_news_if_it_is(lab: Lab, source: str) -> None:
    lab.read(OutletReading("1", "router", State.ON, 12.0, 230.0, 0.5, 7.0))
    lab.told()
    lab.now += 5
    lab.inventory.told(A, State.ON, 3.0, source)
    known = lab.pdu().outlets["1"]
    assert known[:8] == (State.ON, source, 3.0, "router", 12.0, 230.0, 0.5, 7.0)
    assert bool(lab.told()) is (source == "commanded")
    lab.inventory.told(A, State.OFF, 4.0, source)
    known = lab.pdu().outlets["1"]
    assert known[:8] == (State.OFF, source, 4.0, "router", None, 230.0, None, 7.0) and known.shown is None
    assert lab.told() == [("a port 1", "off", None)]
    assert lab.pdu().switched == (1005.0 if source == "commanded" else float("-inf"))


def test_what_is_told_was_commanded_unless_that_is_said(lab: Lab) -> None:
    lab.inventory.told(A, State.ON, 3.0)
    assert lab.pdu().outlets["1"].source == "commanded"


# Who answers.


def failed(
    lab: Lab, text: str = "a: no answer", reading: bool = False, kind: type[DeviceError] = TransientError
) -> None:
    lab.inventory.failed("a", "ready", kind(text), reading)


def test_one_that_does_not_answer_is_told_of_once(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert lab.pdu().reachable is None
    failed(lab)
    failed(lab, "later")
    pdu = lab.pdu()
    assert (pdu.reachable, pdu.trouble, pdu.gone, pdu.failures) == (False, "later", True, 0)
    assert caplog.messages == ["a does not answer: no answer"] and caplog.records[0].levelname == "WARNING"
    assert lab.told() == [("a", "ready", "no answer", False)]
    lab.inventory.answered("a", "ready")
    assert (pdu.reachable, pdu.trouble, pdu.gone) == (True, "", False)
    assert caplog.messages[1:] == ["a answers again"] and lab.told() == [("a", "ready", "", True)]
    lab.inventory.answered("a", "ready")
    assert len(caplog.messages) == 2 and lab.told() == []


def test_one_that_cannot_be_read_has_not_come_back_by_being_switched(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for _ in range(2):
        failed(lab, reading=True)
    pdu = lab.pdu()
    assert pdu.failures == 2 and caplog.messages == ["a does not answer when it is read: no answer"]
    lab.inventory.answered("a", "ready")
    assert pdu.reachable is True and pdu.gone and pdu.failures == 2 and len(caplog.messages) == 1
    lab.inventory.answered("a", "ready", reading=True)
    assert pdu.failures == 0 and pdu.gone is False and caplog.messages[1:] == ["a answers again"]


def test_what_a_device_refuses_says_something_of_it_only_when_it_is_read(lab: Lab) -> None:
    failed(lab, kind=PermanentError)
    assert lab.pdu().reachable is None and lab.told() == []
    failed(lab, kind=PermanentError, reading=True)
    assert lab.pdu().reachable is False and lab.pdu().failures == 1


def test_of_whom_nothing_is_known_nothing_is_told(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.inventory.failed("nobody", "ready", TransientError("no"))
    lab.inventory.answered("nobody", "ready", reading=True)
    lab.inventory.heard(Outlet("nobody", "1"), ready, State.ON, None)
    assert lab.told() == [] and caplog.messages == []


def test_what_is_heard_of_an_outlet_says_whether_its_pdu_answers(lab: Lab) -> None:
    lab.inventory.heard(A, lambda name: f"state of {name}", None, TransientError("no"))
    assert lab.told() == [("a", "state of a", "no", False)]
    lab.inventory.heard(A, lambda name: f"state of {name}", None, None)
    assert lab.told() == [("a", "state of a", "", True)] and lab.inventory.outlet(A) == NOTHING
    lab.inventory.heard(A, ready, State.ON, None)
    assert lab.told() == [("a port 1", "on", None)]
    assert lab.inventory.outlet(A) == Known(State.ON, "device", lab.wall())
    failed(lab, reading=True)
    lab.pdu().reachable = True
    lab.pdu().failures = 0
    lab.inventory.heard(A, ready, None, None)
    assert lab.pdu().gone is False, "the log is told that it is back"


# Names.


def named(lab: Lab) -> Config:
    """Have an outlet of the first PDU be locked by its name."""
    config = replace(lab.config, locked={Outlet("a", "name:router"): "mine"}, device_names={})
    lab.inventory.change(config, ready)
    return config


def test_before_they_are_known_names_are_asked_for_and_said_to_be_unknown(lab: Lab) -> None:
    config = named(lab)
    by_name = config.target("a", "name:router")
    unknown = "a: the names of its outlets have not been read {}{}; ask again in some seconds"

    def said(target: Target, **how: Any) -> str:
        with pytest.raises(NamesUnknown) as raised:
            lab.inventory.resolved(target, config, **how)
        assert raised.value.pdu == "a" and raised.value.retry_after == 5
        return str(raised.value)

    assert said(by_name) == said(config.target("a", "2")) == unknown.format("yet", "")
    assert said(by_name, switching=False) == unknown.format("yet", "")
    assert lab.inventory.resolved(config.target("a", "2"), config, switching=False).outlets == (A2,)
    assert lab.inventory.resolved(config.target("b", "1"), config).outlets == (B,)
    failed(lab, "a: no answer", reading=True)
    assert said(by_name) == unknown.format("yet", ": no answer")
    lab.read(OutletReading("1", "router"), OutletReading("2", "switch"))
    lab.inventory.answered("a", "ready", reading=True)
    assert lab.inventory.resolved(by_name, config).outlets == (A,) and lab.inventory.knows_names("a") is True
    lab.now += NAMES_LAST
    assert lab.inventory.knows_names("a") is True
    lab.now += 1
    assert (
        lab.inventory.knows_names("a") is False is lab.inventory.knows_names("b") is lab.inventory.knows_names("nobody")
    )
    assert said(by_name) == unknown.format("lately", "")
    lab.now -= 2 * NAMES_LAST + 2
    assert said(by_name) == unknown.format("lately", ""), "the clock was set back"


def test_a_name_is_that_of_one_outlet(lab: Lab) -> None:
    config = named(lab)
    lab.read(OutletReading("1", "router"), OutletReading("2", "twin"), OutletReading("3", "twin"), OutletReading("4"))

    def said(name: str) -> str:
        with pytest.raises(RequestError) as raised:
            lab.inventory.resolved(config.target("a", f"name:{name}"), config)
        return str(raised.value)

    assert said("twin") == "a: 2 outlets are called 'twin': ports 2, 3"
    assert said("rooter").startswith("a: there is no outlet called 'rooter'") and "router" in said("rooter")
    assert said("x").startswith("a: there is no outlet called 'x'")
    assert lab.inventory.place(Outlet("a", "name:router"), config) == A
    for name in ("name:twin", "name:nobody"):
        assert lab.inventory.place(Outlet("a", name), config) == Outlet("a", name)
    assert lab.inventory.place(A2, config) is A2 and lab.inventory.place(Outlet("nobody", "1"), config).pdu == "nobody"


def test_what_is_locked_by_its_name_is_so_by_its_port(lab: Lab) -> None:
    config = named(lab)
    lab.read(OutletReading("1", "router"), OutletReading("2", "switch"))
    assert config.device_names == {A: "router", A2: "switch"}
    by_port, other = config.target("a", "1"), config.target("a", "2")
    found = lab.inventory.resolved(by_port, config)
    assert found.locked.endswith(": mine") and found.outlets == (A,)
    assert lab.inventory.resolved(other, config).locked == ""
    twice = replace(by_port, outlets=(A, Outlet("a", "name:router")))
    assert lab.inventory.resolved(twice, config).outlets == (A,)
    assert lab.inventory.resolved(found, config) is found, "there is nothing to change"
    lab.read(OutletReading("1", "another"), OutletReading("2"))
    assert config.device_names == {A: "another"}
    assert lab.inventory.resolved(found, config).locked == "", "another outlet had that name"


def test_of_a_pdu_that_has_just_gone_no_name_is_known(lab: Lab) -> None:
    """As who asks has the configuration of before yet."""
    config = named(lab)
    lab.inventory.change(lab.load(a=None), ready)
    router = Outlet("a", "name:router")
    assert lab.inventory.place(router, config) == router and lab.inventory.knows_names("a") is False
    with pytest.raises(NamesUnknown, match=r"^a: the names of its outlets have not been read yet; ask again"):
        lab.inventory.resolved(config.target("a", "name:router"), config)


def test_where_nothing_is_spelled_by_name_nothing_is_looked_up(lab: Lab) -> None:
    target = lab.config.target("a", "1")
    assert lab.inventory.resolved(target, lab.config) is target
    lab.read(OutletReading("1", "router"))
    assert lab.config.device_names == {}
    by_name = replace(target, outlets=(Outlet("a", "name:router"),))
    assert by_name.by_name and lab.inventory.resolved(by_name, lab.config).outlets == (A,)


# Another configuration.


def test_a_reload_leaves_what_was_told_of_a_pdu_that_has_changed_and_all_of_the_others(lab: Lab) -> None:
    lab.read(OutletReading("1", "router", State.ON), OutletReading("2"))
    lab.inventory.told(A2, State.OFF, 5.0)
    lab.inventory.told(B, State.ON, 6.0)
    other = lab.pdu("b")
    lab.told()
    lab.inventory.change(lab.load(a={"outlets": 3}), ready)
    pdu = lab.pdu()
    assert [*pdu.outlets] == ["1", "2", "3"] and pdu.outlets["2"][:3] == (State.OFF, "commanded", 5.0)
    assert pdu.outlets["1"] == pdu.outlets["3"] == NOTHING and pdu.read is None
    assert lab.pdu("b") is other and lab.told() == []
    lab.inventory.change(lab.load(a=None), ready)
    assert lab.inventory.pdu("a") is None and lab.pdu("b") is other and lab.told() == []


def test_a_pdu_that_is_disabled_or_not_any_more_is_told_of(lab: Lab) -> None:
    broken = lab.load(a={"retries": "many"})
    assert broken.pdus["a"].driver is None
    lab.inventory.change(broken, lambda name: f"state of {name}")
    assert lab.told() == [("a", "state of a", broken.pdus["a"].fault, None)]
    lab.inventory.change(lab.load(a={"retries": "more"}), ready)
    assert lab.told() == []
    lab.inventory.change(lab.load(), ready)
    assert lab.told() == [("a", "ready", "", None)]


def test_outlets_that_feed_nodes_are_known_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "conf"
    pdu = {"driver": "dummy", "outlets": 9}
    nodes = {"n1": {"hostname": "a", "port": 8}}
    path.write_text(json.dumps({"pdus": {"a": pdu}, "nodes": nodes}))
    monkeypatch.setattr(module, "MOST_OUTLETS", 2)
    config = reader.load(str(path))
    assert [str(outlet) for outlet in config.nodes_at] == ["a port 8"]
    found = Inventory(config, Events(Clock()), Clock()).pdu("a")
    assert found is not None and [*found.outlets] == ["1", "2", "8"]


def test_what_is_at_a_site_is_known_from_there(lab: Lab) -> None:
    far = KnownPDU({"1": Known(State.ON, "device", 5.0)})
    lab.inventory.elsewhere = {"far": far, "a": far}
    assert lab.inventory.pdu("far") is far and lab.inventory.pdu("a") is not far and lab.inventory.pdu("none") is None
    assert lab.inventory.outlet(Outlet("far", "1")).state is State.ON
    assert lab.inventory.last_told("far") == {}


def test_the_reasons_of_errors_are_texts() -> None:
    make: Callable[..., NamesUnknown] = NamesUnknown
    error = make("a", "not read yet")
    assert str(error) == "not read yet" and isinstance(error, RequestError)
