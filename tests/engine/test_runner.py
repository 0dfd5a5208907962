# SPDX-License-Identifier: MIT
"""`PDURunner` with a dispatcher behind it: whatever a driver does, what it was to do ends, and the PDU goes on."""

from __future__ import annotations

import gc
import json
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine import device, dispatcher, runner, threads
from pdudaemon.engine.device import Device
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.pool import Pool
from pdudaemon.engine.pulse import Pulse
from pdudaemon.engine.queries import Look, Query
from pdudaemon.engine.runner import PDURunner
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.engine.survey import Survey
from pdudaemon.engine.timetable import Timetable
from pdudaemon.errors import DeviceError, DeviceTimeout, PDUDaemonError, PermanentError, TransientError
from pdudaemon.power import Action, Outlet, State
from pdudaemon.transports import deadline
from tests.support.locks import free
from tests.support.process import eventually, no_threads
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
    assert one.snapshot()[0]["state"] == "ready" and one.pulse(10) == Pulse()


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
        former = weakref.ref(one._fleet.runners["pdu"]._driving._driver)
        assert former() is not None
        pdu = replace(one.config.pdus["pdu"], settings={"driver": "dummy", "outlets": 4})
        one.reload(replace(one.config, pdus={"pdu": pdu}))
        assert awaited(one, submitted(one, Action.ON, target), 30)
        assert former() is None and kept
    finally:
        gc.enable()


@pytest.mark.usefixtures("meant")
@pytest.mark.parametrize("where", ["_begin", "_act", "_driving.as_device_error"])
def test_a_fault_of_our_own_ends_the_action_as_well(
    switching: tuple[Dispatcher, list[BaseException]], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    one, raised = switching
    target = one.config.target("pdu", "1")
    assert awaited(one, submitted(one, Action.ON, target), 30)
    room: Any = one._fleet.runners["pdu"]
    if "." in where:
        inner, where = where.split(".")
        room = getattr(room, inner)
    original = getattr(room, where)

    def fault(*arguments: Any) -> Any:
        monkeypatch.setattr(room, where, original)
        raise AssertionError("a fault of ours")

    raised.append(ValueError("x"))
    monkeypatch.setattr(room, where, fault)
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
    monkeypatch.setattr(threads, "PAUSE", 0.05)
    rack = Rack(tmp_path, {"left": {}, "right": {}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("right")), 30)
    with no_threads() as refused:
        late = [submitted(rack.dispatcher, action, rack.target("left")) for action in (Action.ON, Action.OFF)]
        assert refused.wait(30)
        for _ in range(20):
            assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("right")), 30)
        assert rack.seen["left"] == "" and not rack.dispatcher.pulse(10).hangs
    for request in late:
        assert awaited(rack.dispatcher, request, 30)
    assert rack.seen["left"] == "of"
    rack.stop()


def test_a_thread_that_cannot_even_be_made_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a driver has spoiled `threading.excepthook`: what is accepted then is carried out later."""
    monkeypatch.setattr(threads, "PAUSE", 0.05)
    rack = Rack(tmp_path, {"left": {}})
    with monkeypatch.context() as patch:
        patch.setattr(threading, "excepthook", None)
        request = submitted(rack.dispatcher, Action.ON, rack.target("left"))
    assert awaited(rack.dispatcher, request, 30) and rack.seen["left"] == "o"
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


class Lone:
    """A PDU's worker with nobody behind it, and what its driver does: ``acts`` is called for each job with the driver.

    ``ended`` has what was told of each job; ``held`` whether another process could not have had the device then.
    """

    def __init__(
        self, folder: Path, acts: Callable[[PDUDriver, str], Any], pool: Pool | None = None, **pdu: Any
    ) -> None:
        class Acting(PDUDriver):
            def handle(self, request: str, port_number: Any) -> Any:
                return acts(self, request)

            def read_outlets(self) -> Any:
                acts(self, "survey")
                return []

            def _bombout(self) -> None:
                acts(self, "bombout")

        (folder / "conf").write_text(json.dumps({"pdus": {"pdu": {"driver": "dummy", **pdu}}}))
        found = replace(reader.load(str(folder / "conf")).pdus["pdu"], driver=Acting)
        self.ended: queue.SimpleQueue[tuple[State | None, str]] = queue.SimpleQueue()
        self.wanted = True
        self._path = folder / "lock"
        self.runner = PDURunner(found, Device(self._path), pool, self._begin, self._end, Timetable(threading.Lock()))

    def _begin(self, *_: Any) -> bool:
        return self.wanted

    def _end(self, runner: PDURunner, job: Any, state: State | None, error: DeviceError | None) -> None:
        self.ended.put((state, "" if error is None else str(error)))

    def ask(self, job: Any = None) -> tuple[State | None, str]:
        """Have a job done, a question by default; return what was told of it."""
        self.runner.put(job or Query(Outlet("pdu", "1")))
        return self.ended.get(timeout=30)

    def change(self, **pdu: Any) -> None:
        """Have the PDU be another from its next job on."""
        self.runner.change(replace(self.runner.pdu, **pdu), self.runner.device, None)

    def free(self) -> bool:
        """Whether another process could have the device."""
        return free(self._path)

    def stop(self) -> None:
        self.runner.stop()
        assert self.runner.join(30)


class Order(Query):
    """What is to be switched."""

    order = Action.ON.value


def on(driver: PDUDriver, request: str) -> State:
    return State.ON


def test_a_device_is_kept_for_a_while_after_what_went_well_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after a failure, nor after a survey: whoever follows may be another process."""
    monkeypatch.setattr(runner, "KEPT", 3600)
    monkeypatch.setattr(runner, "AFTER_SURVEY", 3600)
    raised: list[Exception] = []

    def acts(driver: PDUDriver, request: str) -> State:
        if raised and request != "bombout":
            raise raised.pop()
        return State.ON

    lone = Lone(tmp_path, acts)
    for job in (None, Order(Outlet("pdu", "1"))):
        assert lone.ask(job) == (None if job else State.ON, "")
        assert not lone.free()
    raised.append(ValueError("x"))
    assert lone.ask() == (None, "pdu: ValueError: x")
    eventually(lone.free)
    assert lone.ask() == (State.ON, "") and not lone.free()
    assert lone.ask(Survey("pdu", True, None)) == (None, "")
    eventually(lone.free)
    lone.stop()


def test_who_is_idle_gives_the_device_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runner, device):
        monkeypatch.setattr(module, "KEPT", 0.05)
    lone = Lone(tmp_path, on)
    lone.ask()
    eventually(lone.free)
    assert lone.ask() == (State.ON, "")
    lone.stop()


def test_what_is_not_wanted_any_more_is_neither_done_nor_told_of_and_keeps_nothing(tmp_path: Path) -> None:
    done: list[str] = []
    lone = Lone(tmp_path, lambda _, request: done.append(request) or State.ON)
    lone.wanted = False
    lone.runner.put(Query(Outlet("pdu", "1")))
    eventually(lambda: not lone.runner.waiting)
    eventually(lambda: not lone.runner.device.lock.locked())
    assert not lone.runner.device.kept
    lone.wanted = True
    assert lone.ask() == (State.ON, "") and done == ["status"]
    lone.stop()
    assert lone.ended.empty()


def test_members_of_a_pool_give_the_device_back_at_once(tmp_path: Path) -> None:
    lone = Lone(tmp_path, on, Pool(1))
    assert lone.ask() == (State.ON, "")
    eventually(lone.free)
    lone.runner.stop()


@pytest.mark.parametrize("stopped", [False, True])
def test_what_waits_for_a_place_costs_no_queue_and_keeps_its_order(tmp_path: Path, stopped: bool) -> None:
    """Ten thousand of them would cost 50 MiB, made under the dispatcher's lock."""
    pool, done = Pool(1), []
    lone = Lone(tmp_path, lambda _, request: done.append(request) or State.ON, pool)
    with pool.place():
        for job in (Query(Outlet("pdu", "1")), Order(Outlet("pdu", "1")), Query(Outlet("pdu", "1"))):
            lone.runner.put(job)
        assert lone.runner.waiting == 3 and lone.runner._queue is None
        if stopped:
            lone.runner.stop()
    assert [lone.ended.get(timeout=30) for _ in range(3)] == [(State.ON, ""), (None, ""), (State.ON, "")]
    assert done == ["status", "on", "status"]
    eventually(lambda: not lone.runner.waiting)
    with pool.place():  # given back
        pass
    lone.runner.stop()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(5, "Input/output error"), "pdu: Input/output error"),
        (OSError("odd"), "pdu: OSError: odd"),
        (ValueError("many\n  lines"), "pdu: ValueError: many lines"),
        (ValueError("it is sesame!"), "pdu: ValueError: it is ***!"),
        (KeyError(), "pdu: KeyError"),
        (TransientError(" "), "pdu: TransientError"),
        (TransientError("half \ud83d"), "pdu: half ?"),
        (TimeoutError("late"), "pdu: TimeoutError: late"),
    ],
)
def test_an_error_is_told_in_one_line_without_secrets(tmp_path: Path, error: Exception, said: str) -> None:
    def acts(driver: PDUDriver, request: str) -> None:
        raise error

    lone = Lone(tmp_path, acts)
    lone.change(secrets=frozenset({"sesame"}))
    assert lone.ask() == (None, said)
    lone.stop()


def test_where_a_driver_failed_is_logged_without_secrets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def acts(driver: PDUDriver, request: str) -> None:
        raise {"status": ValueError("it is sesame"), "on": OSError(5, "sesame"), "bombout": KeyError("x")}[request]

    caplog.set_level("DEBUG", "pdud.runner")
    lone = Lone(tmp_path, acts)
    lone.change(secrets=frozenset({"sesame"}))
    lone.ask()
    bombed, raised = caplog.messages
    assert bombed == "pdu: _bombout raised KeyError"
    assert raised.startswith("pdu: the driver raised what is no device error\nTraceback") and "it is ***" in raised
    assert "sesame" not in caplog.text and not raised.endswith("\n")
    caplog.clear()
    lone.ask(Order(Outlet("pdu", "1")))
    assert "Traceback" not in caplog.text
    lone.stop()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermanentError("x"), PermanentError),
        (DeviceTimeout("x"), DeviceTimeout),
        (TimeoutError("x"), DeviceTimeout),
        (OSError(5, "x"), TransientError),
        (ValueError("x"), TransientError),
    ],
)
def test_the_kind_of_an_error_says_whether_it_may_pass(tmp_path: Path, error: Exception, kind: type) -> None:
    told: queue.SimpleQueue[DeviceError | None] = queue.SimpleQueue()

    def acts(driver: PDUDriver, request: str) -> None:
        raise error

    lone = Lone(tmp_path, acts)
    lone.runner._end = lambda *words: told.put(words[3])
    lone.runner.put(Query(Outlet("pdu", "1")))
    found = told.get(timeout=30)
    assert type(found) is kind and found.__cause__ is None and found.__traceback__ is None
    lone.stop()


def test_a_driver_is_told_when_it_has_failed_and_only_then(tmp_path: Path) -> None:
    """It has a deadline of its own action, which is that of its thread as well."""
    seen: list[str] = []

    def acts(driver: PDUDriver, request: str) -> State:
        seen.append(request)
        if request != "bombout":
            assert driver.deadline is deadline.current() and 0 < driver.deadline.remaining() <= 17
        if len(seen) == 2:
            raise ValueError("x")
        return State.OFF

    lone = Lone(tmp_path, acts, timeout=17)
    assert [lone.ask()[0] for _ in range(3)] == [State.OFF, None, State.OFF]
    assert seen == ["status", "status", "bombout", "status"]
    lone.stop()


def test_a_driver_that_cannot_be_made_is_made_anew_the_next_time(tmp_path: Path) -> None:
    lone = Lone(tmp_path, on)
    kind, tries = lone.runner.pdu.driver, []

    def make(*words: Any) -> PDUDriver:
        tries.append(words)
        if len(tries) == 1:
            raise ValueError("not now")
        assert kind is not None
        return kind(*words)

    lone.change(driver=make)
    assert lone.ask() == (None, "pdu: ValueError: not now")
    assert lone.ask() == lone.ask() == (State.ON, "") and len(tries) == 2
    lone.stop()


@pytest.mark.parametrize(
    ("verify", "order", "error"),
    [(True, Order, "pdu: port 1 is still off after"), (False, Order, ""), (True, Query, "")],
)
def test_what_is_to_be_verified_is_read_back(tmp_path: Path, verify: bool, order: type[Query], error: str) -> None:
    asked: list[str] = []
    lone = Lone(tmp_path, lambda _, request: asked.append(request) or State.OFF, verify=verify, timeout=3)
    state, said = lone.ask(order(Outlet("pdu", "1")))
    assert said.startswith(error) and bool(said) is bool(error)
    assert state is (State.OFF if order is Query else None)
    assert asked[0] == order.order and ("status" in asked[1:]) is bool(error)
    lone.stop()


def test_what_comes_after_the_end_does_not_wait(tmp_path: Path) -> None:
    """Its pauses end at once; before that they do not."""
    lone = Lone(tmp_path, lambda driver, _: driver.deadline.pause(0.01) or State.ON)
    assert lone.ask() == (State.ON, "")
    lone.stop()
    (tmp_path / "late").mkdir()
    late = Lone(
        tmp_path / "late", lambda driver, request: request == "bombout" or driver.deadline.pause(3600), timeout=7200
    )
    late.runner.stop()
    assert late.ask() == (None, "pdu: interrupted, since the daemon stops")


def test_who_is_still_at_work_at_the_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have never been, or have ended, are not."""
    monkeypatch.setattr(dispatcher, "LEAVE_GRACE", 0.1)
    rack = Rack(tmp_path, {"a": {}, "b": {}, "c": {}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("a")), 30)
    rack.hold("b")
    rack._running = False
    assert rack.dispatcher.close(0)[0] == ["the worker of b"]
    rack.let_go("b")


def test_a_worker_that_has_died_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rack = Rack(tmp_path, {"a": {}, "b": {}})
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("b")), 30)
    assert rack.dispatcher.pulse(30) == Pulse()
    monkeypatch.setattr(PDURunner, "_serve", lambda _: None)
    submitted(rack.dispatcher, Action.ON, rack.target("a"))
    eventually(lambda: rack.dispatcher.pulse(30) == Pulse("the worker of a has died"))
    rack.stop()


def test_a_worker_ends_soon_after_a_survey_and_late_after_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "KEPT", 0.01)
    monkeypatch.setattr(runner, "AFTER_SURVEY", 0.01)
    lone = Lone(tmp_path, on)
    lone.ask(Survey("pdu", True, None))
    eventually(lambda: lone.runner._thread is None)
    lone.ask()
    eventually(lone.free)
    assert lone.runner._thread is not None
    lone.runner._thread.join(0.05)
    assert lone.runner._thread.is_alive()
    lone.stop()


@pytest.mark.usefixtures("meant")
def test_a_fault_of_ours_is_logged_with_whose_worker_it_was(
    switching: tuple[Dispatcher, list[BaseException]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = switching
    runner, begin = one._fleet.runners["pdu"], one._fleet.runners["pdu"]._begin

    def fault(*_: object) -> bool:
        monkeypatch.setattr(runner, "_begin", begin)
        raise AssertionError("of ours")

    monkeypatch.setattr(runner, "_begin", fault)
    awaited(one, submitted(one, Action.ON, one.config.target("pdu", "1")), 30)
    eventually(lambda: "the worker of pdu: internal error" in caplog.text)


class Soon(float):
    """The time of an action after which the device rests for a moment yet, whenever it is asked."""

    def __add__(self, _: float) -> float:
        return time.monotonic() + 50


def test_a_rest_of_a_moment_is_kept_as_well(tmp_path: Path) -> None:
    rests: list[float] = []

    class Rest(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            return False

    lone = Lone(tmp_path, on)
    lone.ask()
    lone.runner._stopping = Rest()
    lone.runner.device.last_action = Soon()
    assert lone.ask() == (State.ON, "")
    assert len(rests) == 1 and 0 < rests[0] <= 50
    lone.stop()
