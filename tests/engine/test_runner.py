# SPDX-License-Identifier: MIT
"""`PDURunner` with a dispatcher behind it: whatever a driver does, what it was to do ends, and the PDU goes on."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine import fleet, runner
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.queries import Look
from pdudaemon.engine.store import MEMORY, Store
from pdudaemon.errors import DeviceError, PDUDaemonError, PermanentError, TransientError
from pdudaemon.power import Action, State
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Wordless(TransientError):
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


class Private(PermanentError):
    def __init__(self) -> None:
        self.private = object()  # type: ignore[assignment]


class Loud(BaseException):
    pass


class Cut(OSError):
    @property
    def strerror(self) -> str:  # type: ignore[override]
        raise Loud


RAISED = [Speechless(), Wordless(), Private(), Loud("x"), Cut(), KeyboardInterrupt(), SystemExit(3), GeneratorExit()]


@pytest.fixture
def switching(tmp_path: Path) -> Iterator[tuple[Dispatcher, list[BaseException]]]:
    """A dispatcher of one PDU, and a list of what its driver raises, one after another."""
    raised: list[BaseException] = []

    class Failing(PDUDriver):
        def port_interaction(self, command: str, port_number: Any) -> None:
            if raised:
                raise raised.pop()

        def port_status(self, port_number: Any) -> State:
            self.port_interaction("status", port_number)
            return State.ON

        def _bombout(self) -> None:
            raise Loud

    (tmp_path / "conf").write_text(json.dumps({"pdus": {"pdu": {"driver": "dummy", "retries": 1, "retrydelay": 0}}}))
    config = reader.load(str(tmp_path / "conf"))
    config = replace(config, pdus={"pdu": replace(config.pdus["pdu"], driver=Failing)})
    one = Dispatcher(config, Store(MEMORY))
    one.start()
    yield one, raised
    one.close(0)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("action", [Action.ON, Action.STATUS])
def test_whatever_a_driver_raises_is_the_end_of_that_action_alone(
    switching: tuple[Dispatcher, list[BaseException]], error: BaseException, action: Action
) -> None:
    one, raised = switching
    raised.append(error)
    target = one.config.target("pdu", "1")
    kind = PermanentError if isinstance(error, PermanentError) else TransientError
    with pytest.raises(kind, match=r"^pdu: "):
        if action is Action.STATUS:
            one.look(target)
        else:
            awaited(one, submitted(one, action, target), 30)
    assert awaited(one, submitted(one, Action.ON, target), 30)
    assert one.snapshot()[0]["state"] == "ready" and one.pulse(10) == ("", "")


@pytest.mark.parametrize("asked", ["on", "status"])
def test_what_failed_keeps_no_driver_once_the_pdu_is_another(
    switching: tuple[Dispatcher, list[BaseException]], asked: str
) -> None:
    """It would keep what that holds, too: a line, a file."""
    one, raised = switching
    target = one.config.target("pdu", "1")
    raised.append(ValueError("x"))
    gc.disable()
    try:
        if asked == "on":
            kept: object = submitted(one, Action.ON, target)
            with pytest.raises(DeviceError):
                awaited(one, kept, 30)
        else:
            with pytest.raises(DeviceError) as kept:
                one.look(target)
        former = weakref.ref(one._fleet.runners["pdu"]._driver)
        assert former() is not None
        pdu = replace(one.config.pdus["pdu"], settings={"driver": "dummy", "outlets": 4})
        one.reload(replace(one.config, pdus={"pdu": pdu}))
        assert awaited(one, submitted(one, Action.ON, target), 30)
        assert former() is None and kept
    finally:
        gc.enable()


@pytest.mark.parametrize("where", ["_begin", "_act", "_as_device_error"])
def test_a_fault_of_our_own_ends_the_action_as_well(
    switching: tuple[Dispatcher, list[BaseException]], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    one, raised = switching
    target = one.config.target("pdu", "1")
    assert awaited(one, submitted(one, Action.ON, target), 30)
    runner = one._fleet.runners["pdu"]
    original = getattr(runner, where)

    def fault(*arguments: Any) -> Any:
        monkeypatch.setattr(runner, where, original)
        raise AssertionError("a fault of ours")

    raised.append(ValueError("x"))
    monkeypatch.setattr(runner, where, fault)
    with pytest.raises(DeviceError):
        awaited(one, submitted(one, Action.ON, target), 30)
    raised.clear()
    assert awaited(one, submitted(one, Action.ON, target), 30)


def test_there_is_an_end_to_what_waits_in_the_queue_of_a_busy_worker(tmp_path: Path) -> None:
    """Questions that nobody waits for any more, and steps that have been cancelled, stay there until it is free."""
    rack = Rack(tmp_path, {"pdu": {"outlets": 1000}}, max_queue=20)
    rack.hold("pdu")
    outlets = [rack.dispatcher.config.target("pdu", str(port)) for port in range(2, 102)]
    refused = 0
    answers: list[str] = []
    for target in outlets:
        look = Look(target.outlets, lambda answer: answers.append(str(answer)))
        rack.dispatcher.ask([look])
        rack.dispatcher.give_up([look], 0)
        refused += "its queue is full" in answers.pop()
    assert refused == 80
    for target in outlets:
        try:
            rack.dispatcher.cancel(submitted(rack.dispatcher, Action.ON, target).id)
        except PDUDaemonError as error:
            assert "its queue is full" in str(error)
    assert rack.dispatcher._fleet.runners["pdu"].waiting <= 40
    rack.let_go("pdu")
    eventually(lambda: not rack.dispatcher._fleet.runners["pdu"].waiting)
    answer = rack.dispatcher.look(outlets[0], 30)
    assert "its queue is full" not in str(answer)
    rack.stop()


def workers() -> list[str]:
    """Return the names of the workers' threads that there are."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("pdu "))


def test_a_worker_that_is_idle_ends_and_another_one_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "IDLE", 0.01)
    rack = Rack(tmp_path, {"left": {}, "right": {}})
    for _ in range(5):
        for name in ("left", "right"):
            assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target(name)), 30)
        eventually(lambda: not workers())
        assert not rack.dispatcher.pulse(10).hangs
    requests = [submitted(rack.dispatcher, Action.OFF, rack.target("left")) for _ in range(300)]
    for request in requests:  # the worker may end at any moment: none of them is left behind
        assert awaited(rack.dispatcher, request, 30)
    assert rack.seen == {"left": "ooooo" + "f" * 300, "right": "ooooo"}
    assert rack.stop() == []


def test_a_job_that_comes_as_the_worker_ends_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "IDLE", 0.0)
    rack = Rack(tmp_path, {"pdu": {}})
    for _ in range(500):
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("pdu")), 30)
    rack.stop()


def test_without_threads_one_pdu_waits_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "THREAD_PAUSE", 0.05)
    rack = Rack(tmp_path, {"left": {}, "right": {}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("right")), 30)
    with monkeypatch.context() as patch:
        refused = threading.Event()

        def refuse(_: threading.Thread) -> None:
            refused.set()
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        late = [submitted(rack.dispatcher, action, rack.target("left")) for action in (Action.ON, Action.OFF)]
        assert refused.wait(30)
        for _ in range(20):
            assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("right")), 30)
        assert rack.seen["left"] == "" and not rack.dispatcher.pulse(10).hangs
    for request in late:
        assert awaited(rack.dispatcher, request, 30)
    assert rack.seen["left"] == "of"
    rack.stop()


class Pooled(Rack):
    """All PDUs are in one pool of three."""

    def config(self) -> Config:
        found = super().config()
        pdus = {name: replace(pdu, traits=replace(pdu.traits, pool=("all", 3))) for name, pdu in found.pdus.items()}
        return replace(found, pdus=pdus)


def test_who_waits_for_a_place_in_a_pool_has_no_thread(tmp_path: Path) -> None:
    names = [f"pdu{number}" for number in range(40)]
    rack = Pooled(tmp_path, {name: {} for name in names})
    for name in names[:3]:
        rack.hold(name)
    requests = [
        submitted(rack.dispatcher, action, rack.target(name)) for action in (Action.OFF, Action.ON) for name in names
    ]
    eventually(lambda: len(workers()) == 3)
    for name in names[:3]:
        rack.let_go(name)
    for request in requests:
        assert awaited(rack.dispatcher, request, 60)
    assert all(rack.seen[name][-2:] == "fo" for name in names)
    assert not rack.dispatcher.pulse(10).hangs
    rack.stop()
    eventually(lambda: not workers())


def test_the_device_rests_for_what_is_left_of_its_interval(tmp_path: Path) -> None:
    """Counted from the end of the last action, whichever of the PDUs that are this device it was for."""
    rack = Rack(tmp_path, {"left": {"min_interval": 900, "lock": "one"}, "right": {"min_interval": 300, "lock": "one"}})
    rests: list[float] = []

    class Rest(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            return False

    runners = rack.dispatcher._fleet.runners
    for name in runners:
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target(name)), 60)
        runners[name].device.last_action = float("-inf")
    for each in runners.values():
        each._stopping = Rest()
    device = runners["left"].device

    def rested(name: str, ago: float) -> float:
        """Return how long the device rests before an action of a PDU, when the last one ended so long ago."""
        rests.clear()
        device.last_action = time.monotonic() - ago
        last = device.last_action
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target(name)), 60)
        assert all(rest > 0 for rest in rests)
        return sum(rests) + time.monotonic() - last if rests else 0.0

    assert rested("left", float("inf")) == 0.0
    assert 900 <= rested("left", 100) < 960 and 300 <= rested("right", 100) < 360
    assert rested("left", 900) == 0.0 == rested("right", 301)
    assert len(rests) == 0 and rested("right", 200) >= 300 and rests[0] <= 100
    rack.stop()
