# SPDX-License-Identifier: MIT
"""`Fleet`: which PDUs there are, which of them are one device, and how one goes that is not configured any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.model import PDUConfig
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.options import PDUOptions
from pdudaemon.engine import threads
from pdudaemon.engine.device import Device
from pdudaemon.engine.fleet import Fleet, device_path
from pdudaemon.engine.pool import Pool
from pdudaemon.engine.queries import Query
from pdudaemon.engine.runner import PDURunner
from pdudaemon.engine.timetable import Timetable
from pdudaemon.errors import Busy, DeviceTimeout
from pdudaemon.power import Outlet, State
from tests.support.process import eventually
from tests.support.rack import Rack

LONG = "ä" * 300


class Lamp(PDUDriver):
    """A device that says when it is asked."""

    asked: list[str] = []
    goes_on = threading.Event()

    def port_status(self, port_number: Any) -> State:
        self.asked.append(self.hostname)
        assert self.goes_on.wait(60)
        return State.ON


def pdu(name: str, enabled: bool = True, pool: tuple[str, int] | None = None, **options: Any) -> PDUConfig:
    found = PDUConfig(name, {}, PDUOptions(options), Lamp if enabled else None)
    return replace(found, traits=replace(found.traits, pool=pool))


def named(*pdus: PDUConfig) -> dict[str, PDUConfig]:
    return {each.name: each for each in pdus}


class Lab:
    """A fleet, whose PDUs end in ``ended`` what they are given."""

    def __init__(self, locks: Path | None) -> None:
        self.lock = threading.Lock()
        self.timetable = Timetable(self.lock)
        self.timetable.start()
        self.ended: list[tuple[str, State | None]] = []
        self._locks = locks
        self.fleet: Fleet

    def begin(self, *pdus: PDUConfig) -> Fleet:
        def ended(runner: Any, job: Query, state: State | None, _: object) -> None:
            self.ended.append((runner.pdu.name, state))

        def runner(pdu: PDUConfig, device: Device, pool: Pool | None) -> PDURunner:
            return PDURunner(pdu, device, pool, lambda *_: True, ended, self.timetable)

        self.fleet = Fleet(named(*pdus), self._locks, runner)
        return self.fleet

    def ask(self, name: str) -> None:
        before = len(self.ended)
        with self.lock:
            self.fleet.runners[name].put(Query(Outlet(name, "1")))
        eventually(lambda: len(self.ended) > before)

    def close(self) -> None:
        for runner in self.fleet.runners.values():
            runner.stop()
        with self.lock:
            self.timetable.stop()
        assert self.timetable.join(30)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    Lamp.asked = []
    Lamp.goes_on.set()
    made = Lab(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("pdu-1", "pdu-1"),
        ("a/b", "a%2Fb"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("a.b", "a.b"),
        ("ü", "%C3%BC"),
    ],
)
def test_the_lock_of_a_device_is_a_file_in_its_folder(name: str, file: str) -> None:
    assert device_path(pdu(name), Path("/x")) == Path("/x", file)
    assert device_path(pdu("other", lock=name), Path("/x")) == Path("/x", file)


def test_a_long_name_has_a_file_of_its_own() -> None:
    first, second = (device_path(pdu(f"{LONG}{each}"), Path("/x")).name for each in "ab")
    assert first != second and len(first) == len(second) == 133 and first[:100] == second[:100]
    edge = device_path(pdu("x" * 200), Path("/x")).name
    assert edge == "x" * 200 and len(device_path(pdu("x" * 201), Path("/x")).name) == 133


def test_those_with_one_lock_are_one_device(lab: Lab, tmp_path: Path) -> None:
    fleet = lab.begin(pdu("d", enabled=False), pdu("a", lock="x"), pdu("b", lock="x"), pdu("c"))
    device = fleet.runners["a"].device
    assert fleet.runners["b"].device is device is not fleet.runners["c"].device
    assert fleet.sharing(device) == {"a", "b"} and fleet.sharing(fleet.runners["c"].device) == {"c"}
    assert [*fleet.runners] == ["a", "b", "c"] and {*fleet.devices} == {"x", "c"}
    for name in "abc":
        lab.ask(name)
    assert lab.ended == [(name, State.ON) for name in "abc"] and Lamp.asked == [*"abc"]
    assert {each.name for each in tmp_path.iterdir()} == {"x", "c"}


def test_without_a_folder_there_is_no_lock(tmp_path: Path) -> None:
    made = Lab(None)
    made.begin(pdu("a"))
    made.ask("a")
    made.close()
    assert made.ended == [("a", State.ON)] and [*tmp_path.iterdir()] == []


def test_those_of_a_pool_share_it(lab: Lab) -> None:
    one, two = ("x", 2), ("x", 3)
    fleet = lab.begin(pdu("a", pool=one), pdu("b", pool=one), pdu("c", pool=two), pdu("d"))
    pools = [fleet.runners[name]._pool for name in "abcd"]
    assert pools[0] is pools[1] and pools[0] is not pools[2] is not None and pools[3] is None
    assert pools[0] is not None and pools[2] is not None and (pools[0]._places, pools[2]._places) == (2, 3)


def test_how_each_is(lab: Lab) -> None:
    fleet = lab.begin(pdu("a"), pdu("b"), pdu("c", enabled=False))
    fleet.runners["a"].device.stuck = "a"
    assert [fleet.state(name) for name in "abcd"] == ["stuck", "ready", "disabled", "disabled"]
    assert [fleet.disabled(name) for name in "abcd"] == [False, False, True, False] and fleet.stuck() == ["a"]
    with pytest.raises(Busy, match="a: stuck: an action has not come back from the device"):
        fleet.check("a")
    with pytest.raises(DeviceTimeout, match="a: stuck"):
        fleet.check("a", DeviceTimeout)
    with pytest.raises(Busy, match="d is not configured any more"):
        fleet.check("d")
    fleet.check("b")
    fleet.change(named(pdu("a")))
    assert fleet.state("b") == "leaving" and fleet.leaving == {"b", "c"}
    fleet.closing = True
    with pytest.raises(Busy, match="the daemon is stopping"):
        fleet.check("a")


def test_one_that_is_not_configured_any_more_goes_when_it_has_nothing_left_to_do(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    keeps = pdu("a")
    fleet = lab.begin(keeps, pdu("b"))
    lab.ask("b")
    runner = fleet.runners["b"]
    fleet.change(named(keeps))
    assert {*fleet.pdus} == {*fleet.runners} == {"a", "b"}
    fleet.let_go("b", 1)
    assert fleet.leaving == {"b"} and "b" in fleet.runners
    fleet.let_go("b", 0)
    assert {*fleet.pdus} == {*fleet.runners} == {"a"} and not fleet.leaving
    assert "b is not configured any more, and has gone" in caplog.text
    assert not [each for each in tmp_path.iterdir() if each.name == "b"], "its lock is taken away"
    eventually(lambda: runner._thread is None or not runner._thread.is_alive())


def test_one_that_is_back_before_it_has_gone_stays(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    same = pdu("b")
    fleet = lab.begin(same)
    runner = fleet.runners["b"]
    fleet.change({})
    fleet.change(named(same))
    assert not fleet.leaving and fleet.runners["b"] is runner and fleet.state("b") == "ready" and not caplog.records
    lab.ask("b")


def test_one_that_is_disabled_ends_what_it_has_and_can_be_had_again(lab: Lab, tmp_path: Path) -> None:
    fleet = lab.begin(pdu("b"))
    lab.ask("b")
    off = pdu("b", enabled=False)
    fleet.change(named(off))
    assert fleet.state("b") == "leaving" and fleet.pdus["b"].driver is not None and not fleet.disabled("b")
    fleet.let_go("b", 0)
    assert fleet.state("b") == "disabled" and fleet.disabled("b") and fleet.pdus["b"] is off
    assert [*tmp_path.iterdir()] == []
    fleet.change(named(pdu("b")))
    assert fleet.state("b") == "ready"
    lab.ask("b")
    fleet.change({})
    fleet.let_go("b", 0)
    assert [*tmp_path.iterdir()] == [] and fleet.pdus == {} == fleet.runners


def test_a_disabled_one_goes_without_a_trace(lab: Lab) -> None:
    fleet = lab.begin(pdu("b", enabled=False))
    fleet.change({})
    assert fleet.leaving == {"b"}
    fleet.let_go("b", 0)
    assert fleet.pdus == {} and fleet.state("b") == "disabled" and not fleet.disabled("b")


def test_one_that_has_changed_is_another_from_its_next_action_on(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fleet = lab.begin(pdu("a", lock="x"), pdu("b", lock="x"))
    lab.ask("a")
    same = fleet.pdus["b"]
    fleet.change({"b": same, **named(pdu("a", lock="y"))})
    assert [record.getMessage() for record in caplog.records] == ["a: its configuration has changed"]
    assert (tmp_path / "x").exists(), "the other has it"
    lab.ask("a")
    assert (tmp_path / "y").exists()
    fleet.change(named(pdu("a", lock="y"), pdu("b", lock="y")))
    lab.ask("b")
    assert not (tmp_path / "x").exists() and fleet.sharing(fleet.runners["a"].device) == {"a", "b"}
    for _ in range(3):
        fleet.change(named(pdu("a", lock="y", retries=3), pdu("b", lock="y")))
    fleet.change({})
    fleet.let_go("a", 0)
    assert (tmp_path / "y").exists()
    fleet.let_go("b", 0)
    assert not (tmp_path / "y").exists()


def test_one_that_is_the_same_device_again_before_it_has_ended_keeps_its_lock(lab: Lab, tmp_path: Path) -> None:
    fleet = lab.begin(pdu("a", lock="x"))
    Lamp.goes_on.clear()
    with lab.lock:
        fleet.runners["a"].put(Query(Outlet("a", "1")))
    eventually(lambda: Lamp.asked == ["a"])
    for lock in ("y", "x"):
        fleet.change(named(pdu("a", lock=lock)))
    Lamp.goes_on.set()
    eventually(lambda: lab.ended)
    lab.ask("a")
    assert (tmp_path / "x").exists() and not (tmp_path / "y").exists()


def test_who_switches_has_a_reading_come_to_an_end(lab: Lab) -> None:
    fleet = lab.begin(pdu("a"))
    hurry = fleet.runners["a"].device.survey = threading.Event()
    lab.ask("a")
    assert not hurry.is_set(), "a status waits"

    class Order(Query):
        order = "on"  # type: ignore[assignment]

    with lab.lock:
        fleet.runners["a"].put(Order(Outlet("a", "1")))
    assert hurry.is_set()
    fleet.runners["a"].device.survey = None
    with lab.lock:
        fleet.runners["a"].put(Order(Outlet("a", "1")))
    eventually(lambda: len(lab.ended) == 3)


def test_a_thread_that_is_refused_is_asked_for_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = lab.begin(pdu("a"))
    start: Callable[[threading.Thread], None] = threading.Thread.start
    refused: list[float] = []

    def refuse(thread: threading.Thread) -> None:
        if len(refused) < 2:
            refused.append(time.monotonic())
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threads, "PAUSE", 0.1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with lab.lock:
        fleet.runners["a"].put(Query(Outlet("a", "1")))
    eventually(lambda: lab.ended == [("a", State.ON)])
    assert caplog.text.count("the worker of a: can't start new thread") == 2
    assert refused[1] - refused[0] > 0.09


def test_the_worker_of_one_that_has_gone_ends(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.hold("a")
    one.let_go("a")
    runner = one.dispatcher._fleet.runners["a"]
    del one.pdus["a"]
    one.dispatcher.reload(one.config())
    eventually(lambda: "a" not in one.dispatcher._fleet.runners)
    eventually(lambda: runner._thread is None or not runner._thread.is_alive())
