# SPDX-License-Identifier: MIT
"""`Surveys`: who is read, when, and that no switching waits for it. The PDUs are looked at from behind."""

from __future__ import annotations

import itertools
import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.driver import Identity, InletReading, OutletReading
from pdudaemon.drivers.platform import PORT
from pdudaemon.engine import surveys
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import Busy, DeviceError, DeviceTimeout, PDUDaemonError, PermanentError, TransientError
from pdudaemon.power import Action, Outlet, State
from tests.support.meters import Meters, until
from tests.support.rack import awaited, submitted


@pytest.fixture
def rack(racks: Callable[..., Meters]) -> Meters:
    return racks(a={}, b={})


def test_what_is_told_is_known(rack: Meters) -> None:
    assert rack.ask("a") is None
    known = rack.known("a")
    router = known.outlets["1"]
    assert (router.name, router.state, router.source, router.watts) == ("router", State.ON, "device", 12.5)
    assert known.inlets == (InletReading("total", 20.0),) and known.identity == Identity("maker")
    assert known.reachable and rack.known("b").read is None
    assert rack.ask("a") is None
    assert (rack.reads["a"], rack.identified["a"]) == (2, 1)


@pytest.mark.parametrize(("error", "asked"), [(TransientError("no answer"), 2), (PermanentError("there is none"), 1)])
def test_one_that_does_not_say_who_it_is_is_read_all_the_same(rack: Meters, error: DeviceError, asked: int) -> None:
    rack.secretive["a"] = error
    assert rack.ask("a") is None and rack.ask("a") is None
    assert rack.known("a").outlets["1"].name == "router" and rack.identified["a"] == asked


def test_whoever_looks_does_not_wait_and_nobody_asks_again_so_soon(rack: Meters) -> None:
    rack.clock.stand()
    rack.gate("a")
    rack.dispatcher.surveys.look(["a"])
    assert rack.reading["a"].wait(60) and rack.known("a").read is None
    rack.dispatcher.surveys.look(["a"])
    rack.gates["a"].set()
    until(lambda: rack.known("a").read)
    rack.look("a")
    assert rack.reads["a"] == 1
    rack.clock.pass_by(29)
    rack.look("a")
    assert rack.reads["a"] == 1
    rack.clock.pass_by(2)
    rack.look("a")
    assert rack.reads["a"] == 2


def test_what_was_switched_is_read_again_soon(rack: Meters) -> None:
    rack.clock.stand()
    rack.look("a")
    rack.clock.pass_by(1)
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("a")), 60)
    rack.look("a")
    assert rack.reads["a"] == 1
    rack.clock.pass_by(6)
    rack.look("a")
    assert rack.reads["a"] == 2
    rack.clock.pass_by(6)
    rack.look("a")
    assert rack.reads["a"] == 2


def test_refresh_0_is_never(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"refresh": 0}, b={"refresh": 5})
    rack.clock.stand()
    rack.look("a", "b", "c")
    rack.clock.pass_by(6)
    rack.look("a", "b", "c")
    assert rack.reads == {"b": 2}
    assert rack.ask("a") is None


def test_poll_reads_without_anybody_looking(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"poll": 0.05}, b={})
    until(lambda: rack.reads["a"] >= 3)
    assert rack.reads["b"] == 0
    rack.pdus["a"]["poll"] = 0
    rack.dispatcher.reload(rack.config())
    until(lambda: not rack.dispatcher.surveys._pending)
    before = rack.reads["a"]
    rack.look("b")
    assert rack.reads["a"] == before


def test_a_reload_leaves_a_poll_its_time(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"poll": 3600})
    until(lambda: rack.known("a").read)
    for _ in range(3):
        rack.dispatcher.reload(replace(rack.dispatcher.config))
    until(lambda: not rack.dispatcher.surveys._pending)
    assert rack.reads["a"] == 1


def test_one_that_did_not_answer_in_time_gets_more_of_it_again(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"timeout": 60})
    rack.refuse["a"] = TransientError("unplugged")
    given = []
    for _ in range(5):
        rack.gate("a")
        rack.dispatcher.surveys.look(["a"])
        survey = rack.dispatcher.surveys._pending["a"]
        given.append(survey.deadline(60).seconds)
        rack.gates["a"].set()
        until(lambda: not rack.dispatcher.surveys._pending)
        rack.clock.pass_by(400)
    assert given == [60, 10, 20, 40, 60]


@pytest.mark.parametrize("asked", [False, True])
def test_no_switching_waits_for_a_reading(rack: Meters, asked: bool) -> None:
    told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
    rack.gate("a")
    if asked:
        rack.dispatcher.surveys.ask("a", told.put)
    else:
        rack.dispatcher.surveys.look(["a"])
    assert rack.reading["a"].wait(60)
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("a")), 60)
    assert rack.seen["a"] == "f"
    assert rack.known("a").reachable and not rack.known("a").failures
    rack.gates["a"].set()
    if asked:
        assert told.get(timeout=60) is None and rack.known("a").read
    else:
        rack.look("a")
        assert rack.known("a").read


def test_a_reading_is_not_put_where_something_waits(rack: Meters) -> None:
    rack.hold("a")
    behind = submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", "2"))
    rack.dispatcher.surveys.look(["a"])
    assert not rack.dispatcher.surveys._pending
    rack.let_go("a")
    assert awaited(rack.dispatcher, behind, 60) and not rack.reads["a"]


def test_a_reading_gives_way_to_what_came_behind_it(rack: Meters) -> None:
    rack.hold("a")
    rack.dispatcher.surveys.look(["a"])
    behind = submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", "2"))
    rack.let_go("a")
    assert awaited(rack.dispatcher, behind, 60)
    until(lambda: not rack.dispatcher.surveys._pending)
    assert not rack.reads["a"]
    rack.look("a")
    assert rack.reads["a"] == 1


def test_who_asks_is_told_when_what_came_behind_is_done(rack: Meters) -> None:
    told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
    rack.hold("a")
    rack.dispatcher.surveys.ask("a", told.put)
    behind = submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", "2"))
    rack.let_go("a")
    assert told.get(timeout=60) is None and behind.ended is not None


def test_the_dead_cost_less_and_less(racks: Callable[..., Meters], caplog: pytest.LogCaptureFixture) -> None:
    rack = racks(a={"refresh": 10})
    rack.clock.stand()
    rack.refuse["a"] = TransientError("unplugged")
    asked = []
    with caplog.at_level(logging.INFO, "pdud.inventory"):
        for second in range(0, 2000, 5):
            before = rack.reads["a"]
            rack.look("a")
            asked += [second] * (rack.reads["a"] - before)
            rack.clock.pass_by(5)
        del rack.refuse["a"]
        rack.clock.pass_by(300)
        rack.look("a")
    pauses = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert pauses[:6] == [10, 20, 40, 80, 160, 300] and set(pauses[6:]) == {300}
    assert caplog.messages == ["a does not answer when it is read: unplugged", "a answers again"]
    assert rack.known("a").reachable


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (None, PermanentError),
        (["1"], PermanentError),
        ([OutletReading(1)], PermanentError),  # type: ignore[arg-type]
        (ValueError("nonsense"), TransientError),
        (DeviceTimeout("late"), DeviceTimeout),
        (SystemExit(3), TransientError),
    ],
)
def test_whatever_a_driver_does_is_a_fault_of_its_pdu_alone(rack: Meters, said: Any, kind: type[DeviceError]) -> None:
    if isinstance(said, BaseException):
        rack.refuse["a"] = said
    else:
        rack.tells["a"] = said
    error = rack.ask("a")
    assert type(error) is kind and str(error).startswith("a: ")
    assert rack.known("a").reachable is False
    assert rack.ask("b") is None
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("a")), 60)
    assert rack.known("a").reachable


def test_a_driver_of_the_existing_daemon_is_never_read(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"poll": 3600, "refresh": 1})
    until(lambda: rack.reads.pop("a", 0))
    config = rack.config()
    old = {name: replace(pdu, traits=replace(pdu.traits, legacy=True)) for name, pdu in config.pdus.items()}
    rack.dispatcher.reload(replace(config, pdus=old))
    rack.look("a")
    with pytest.raises(PermanentError, match="a: this PDU does not tell what its outlets are"):
        rack.ask("a")
    assert not rack.reads and not rack.dispatcher.surveys._polls


def test_not_too_many_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "AT_ONCE", 4)
    rack = Meters(tmp_path, {f"p{n}": {} for n in range(20)})
    for name in rack.pdus:
        rack.gate(name)
    rack.dispatcher.surveys.look(rack.pdus)
    until(lambda: rack._now == 4)
    for gate in rack.gates.values():
        gate.set()
    until(lambda: all(rack.known(name).read for name in rack.pdus))
    assert rack.most == 4
    rack.stop()


def test_those_that_do_not_answer_hold_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "AT_ONCE", 2)
    rack = Meters(tmp_path, {f"p{n}": {} for n in range(6)})
    for name in ("p0", "p1", "p2"):
        rack.refuse[name] = TransientError("unplugged")
        rack.look(name)
        rack.gate(name)
    rack.clock.pass_by(60)
    rack.dispatcher.surveys.look(rack.pdus)
    until(lambda: all(rack.known(name).read for name in ("p3", "p4", "p5")))
    for gate in rack.gates.values():
        gate.set()
    rack.stop()


def test_what_is_stuck_is_not_read(rack: Meters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdudaemon.engine.dispatcher.STUCK_GRACE", 0.1)
    rack.pdus["a"]["timeout"] = 3
    rack.dispatcher.reload(rack.config())
    rack.hold("a")
    told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
    rack.dispatcher.surveys.ask("a", told.put)
    assert isinstance(told.get(timeout=60), DeviceTimeout)
    with pytest.raises(DeviceTimeout, match="a: stuck"):
        rack.ask("a")
    rack.look("a")
    assert not rack.reads["a"]
    rack.let_go("a")
    until(lambda: rack.dispatcher.snapshot()[0]["state"] == "ready")
    until(lambda: not rack.dispatcher._acting and not rack.dispatcher._fleet.runners["a"].waiting)
    assert rack.ask("a") is None and rack.reads["a"] == 1


def test_who_waits_when_the_daemon_stops_is_told(rack: Meters, caplog: pytest.LogCaptureFixture) -> None:
    told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
    rack.gate("a")
    rack.dispatcher.surveys.ask("a", told.put)
    assert rack.reading["a"].wait(60)
    begun = time.monotonic()
    assert rack.dispatcher.close(60) == ([], [])
    assert time.monotonic() - begun < 30
    assert isinstance(told.get(timeout=60), Busy)
    with pytest.raises(Busy, match="the daemon is stopping"):
        rack.ask("b")
    assert not caplog.messages, "nor is it told that the device does not answer"
    rack._running = False


def test_who_is_disabled_or_gone_is_not_read(rack: Meters) -> None:
    rack.pdus["a"]["retries"] = "many"
    del rack.pdus["b"]
    rack.dispatcher.reload(rack.config())
    for name, why in {
        "a": ": disabled by its configuration: pdus.a.retries",
        "b": " is not configured any more",
    }.items():
        with pytest.raises(Busy, match=f"{name}{why}"):
            rack.ask(name)
    rack.look("a", "b")
    assert not rack.reads


def test_a_request_by_a_name_that_is_not_known_has_it_read(rack: Meters) -> None:
    target = rack.dispatcher.config.target("a", "name:router")
    with pytest.raises(Busy, match="have not been read yet"):
        submitted(rack.dispatcher, Action.OFF, target)
    until(lambda: rack.known("a").read)
    request = submitted(rack.dispatcher, Action.OFF, target)
    assert awaited(rack.dispatcher, request, 60)
    assert request.target.outlets == (Outlet("a", "1"),) and rack.seen["a"] == "f"


@pytest.mark.parametrize(
    "settings",
    [
        {"driver": "netiojson", "username": "u", "password": "p"},
        {"driver": "apc8959"},
    ],
)
def test_no_switching_waits_for_a_device_that_hangs(tmp_path: Path, settings: dict[str, Any]) -> None:
    """It takes connections, and says nothing: who reads it leaves it for who wants to switch, long before `timeout`."""
    key = "telnetport" if settings["driver"] == "apc8959" else "port"
    with socket.create_server(("127.0.0.1", 0)) as hung:
        hung.settimeout(30)
        settings = {**settings, key: hung.getsockname()[1], "timeout": 60, "retries": 1}
        path = tmp_path / "conf"
        path.write_text(json.dumps({"pdus": {"127.0.0.1": settings}}))
        dispatcher = Dispatcher(reader.load(str(path)), Store(MEMORY))
        dispatcher.start()
        dispatcher.surveys.look(["127.0.0.1"])
        reading, _ = hung.accept()
        submitted(dispatcher, Action.OFF, dispatcher.config.target("127.0.0.1", "1"))
        switching, _ = hung.accept()
        for each in (reading, switching):
            each.close()
        dispatcher.close(0)


def test_no_switching_waits_for_a_script_that_hangs(tmp_path: Path) -> None:
    path, done = tmp_path / "conf", tmp_path / "done"
    scripts = {"status": f"touch {tmp_path}/begun; exec sleep 60", "power_off": f"touch {done}"}
    path.write_text(json.dumps({"pdus": {"a": {"driver": "platform", **scripts, "timeout": 60}}}))
    dispatcher = Dispatcher(reader.load(str(path)), Store(MEMORY))
    dispatcher.start()
    dispatcher.surveys.look(["a"])
    until((tmp_path / "begun").exists)
    request = submitted(dispatcher, Action.OFF, dispatcher.config.target("a", PORT))
    assert awaited(dispatcher, request, 30) and done.exists()
    dispatcher.close(0)


def test_looking_leaves_no_threads(rack: Meters) -> None:
    rack.look("a", "b")
    assert rack.reads == {"a": 1, "b": 1}
    until(lambda: not {"pdu a", "pdu b"} & {thread.name for thread in threading.enumerate()})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("a")), 60)
