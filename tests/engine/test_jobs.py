# SPDX-License-Identifier: MIT
"""`Jobs` that are conversations: no thread of their own, and all that is promised of an action holds for them too."""

from __future__ import annotations

import fcntl
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers import hooks
from pdudaemon.drivers.ipmi import IPMI
from pdudaemon.engine import dispatcher, pool, threads
from pdudaemon.engine.device import Device
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.queries import Look
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import DeviceError, PDUDaemonError
from pdudaemon.power import Action, Reading, Request, State, Submission
from pdudaemon.transports import datagrams
from tests.devices.ipmi import PASSWORD, USER, ManyBMCs
from tests.support.locks import free
from tests.support.process import Daemon, eventually, no_threads, nothing_left_behind
from tests.support.rack import awaited

CHASSIS_CONTROL = (0, 2)
OFF, ON, CYCLE = b"\x00", b"\x01", b"\x02"


class Lab:
    """Some BMCs and a dispatcher for them; ``settings`` are those of every PDU, and ``own`` what one has besides."""

    def __init__(self, folder: Path, count: int, own: dict[str, dict[str, Any]] | None = None, **settings: Any) -> None:
        self.ends = ExitStack()
        self.many = self.ends.enter_context(ManyBMCs(count))
        self.names = [f"node{number}" for number in range(count)]
        common = {"retries": 1, **settings}
        self.pdus = {name: {**self.many.settings(number), **common} for number, name in enumerate(self.names)}
        for name, of_one in (own or {}).items():
            self.pdus[name] |= of_one
        self._folder = folder
        self.locks = folder / "locks"
        self.locks.mkdir()
        self.dispatcher = Dispatcher(self.config(), Store(MEMORY), self.locks)
        self.dispatcher.start()
        self.closed = False

    def config(self) -> Any:
        path = self._folder / "conf"
        path.write_text(json.dumps({"pdus": self.pdus}))
        return reader.load(str(path))

    def close(self, bound: float = 5.0) -> list[str]:
        """End the dispatcher; return who has not ended."""
        self.closed = True
        return self.dispatcher.close(bound)[0]

    def end(self) -> None:
        self.many.answering.set()
        if not self.closed:
            assert self.close() == []
        self.ends.close()

    def submit(self, action: Action, *names: str) -> list[Request]:
        """Have all of some, or of those there are, switched by one command."""
        targets = [self.dispatcher.config.target(name, "1") for name in names or self.names]
        found = self.dispatcher.submit([Submission(action, target, 0.0, "") for target in targets])
        assert all(isinstance(each, Request) for each in found)
        return [each for each in found if isinstance(each, Request)]

    def done(self, requests: list[Request]) -> None:
        for request in requests:
            assert awaited(self.dispatcher, request, 60)

    def look(self) -> dict[str, Any]:
        """Ask for the state of all at once."""
        told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.dispatcher.ask(
            [
                Look(self.dispatcher.config.target(name, "1").outlets, lambda said, name=name: told.put((name, said)))  # type: ignore[misc]
                for name in self.names
            ]
        )
        return dict(told.get(timeout=60) for _ in self.names)

    @property
    def states(self) -> list[str]:
        return [bmc.outlets["1"] for bmc in self.many.bmcs]

    def controls(self, number: int = 0) -> list[bytes]:
        """Return what a BMC was told to do, in order."""
        return [data for *which, data in self.many.bmcs[number].asked if tuple(which) == CHASSIS_CONTROL]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing be sent again, and so be heard twice, because this machine is slow: no packet is lost here."""
    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 60.0)


Make = Callable[..., Lab]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Make]:
    made: list[Lab] = []

    def make(count: int = 1, own: dict[str, dict[str, Any]] | None = None, **settings: Any) -> Lab:
        made.append(Lab(tmp_path, count, own, **settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that were begun for PDUs."""
    begun: list[str] = []
    started = threads.started

    def noted(call: Any, name: str, whose: object) -> Any:
        begun.append(name)
        return started(call, name, whose)

    monkeypatch.setattr(threads, "started", noted)
    return begun


def test_many_take_no_thread_of_their_own_and_leave_nothing_behind(tmp_path: Path, workers: list[str]) -> None:
    with nothing_left_behind():
        one = Lab(tmp_path, 100)
        one.done(one.submit(Action.ON))
        assert one.states == ["on"] * 100
        assert {name: said.state for name, said in one.look().items()} == dict.fromkeys(one.names, State.ON)
        one.done(one.submit(Action.OFF))
        assert one.states == ["off"] * 100
        found = {name: (said.state, said.source) for name, said in one.look().items()}
        assert found == dict.fromkeys(one.names, (State.OFF, "device"))
        assert not [name for name in workers if name.startswith("pdu ")]
        one.end()


def test_no_more_at_a_time_than_there_are_places(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 60.0)
    monkeypatch.setattr(IPMI, "pool", type(vars(IPMI)["pool"])(lambda self: ("few", 4)))
    one = lab(40)
    one.done(one.submit(Action.ON))
    assert one.states == ["on"] * 40 and 1 <= one.many.most <= 4


def test_the_device_and_its_file_are_ours_meanwhile_and_given_back_at_once(lab: Make) -> None:
    one = lab()
    one.many.answering.clear()
    (request,) = one.submit(Action.ON)
    eventually(lambda: one.many.heard)
    device = one.dispatcher._fleet.runners["node0"].device
    assert device.lock.locked() and not free(one.locks / "node0")
    one.many.answering.set()
    one.done([request])
    eventually(lambda: not device.lock.locked() and free(one.locks / "node0"))


def test_what_another_process_has_is_waited_for_by_a_thread(lab: Make, workers: list[str]) -> None:
    """And holds up none of the others."""
    one = lab(10)
    (one.locks / "node3").touch()
    with (one.locks / "node3").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        requests = one.submit(Action.ON)
        slow = requests.pop(3)
        one.done(requests)
        assert slow.ended is None and [name for name in workers if name.startswith("pdu ")] == ["pdu node3"]
        assert not one.many.bmcs[3].asked
    one.done([slow])
    assert one.states == ["on"] * 10


STATUS = (0, 1)


@pytest.mark.parametrize("verify", [True, False])
def test_one_that_is_verified_is_read_once_more(lab: Make, verify: bool) -> None:
    """A conversation knows nothing of that: it is the thread of a worker that does."""
    one = lab(verify=verify)
    one.done(one.submit(Action.ON))
    asked = [tuple(which) for *which, _ in one.many.bmcs[0].asked]
    assert asked.count(STATUS) == 1 + verify and one.states == ["on"]


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all but those whose cipher is named be in a pool with one place, which nobody gives away for long."""
    own = type(vars(IPMI)["pool"])(lambda self: ("few", 1) if self.cipher == "auto" else None)
    monkeypatch.setattr(IPMI, "pool", own)
    monkeypatch.setattr(pool, "PATIENCE", 3600.0)


def test_who_rests_between_two_actions_has_no_place(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one_at_a_time(monkeypatch)
    one = lab(2, {"node0": {"min_interval": 3000}})
    one.done(one.submit(Action.ON, "node0"))
    (resting,) = one.submit(Action.OFF, "node0")
    eventually(lambda: one.dispatcher._fleet.runners["node0"]._thread is not None)
    one.done(one.submit(Action.ON, "node1"))
    assert resting.ended is None and one.controls() == [ON]


def test_who_leaves_a_pool_leaves_his_place(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one_at_a_time(monkeypatch)
    one = lab(2)
    one.done(one.submit(Action.ON))
    one.pdus["node0"]["cipher"] = "17"
    one.dispatcher.reload(one.config())
    one.done(one.submit(Action.OFF, "node0"))
    one.done(one.submit(Action.OFF, "node1"))
    assert one.states == ["off"] * 2


def test_what_ends_while_the_daemon_stops_gives_its_device_back(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LEAVE_GRACE", 60.0)
    one = lab()
    one.many.answering.clear()
    one.submit(Action.ON)
    eventually(lambda: one.many.heard)
    threading.Timer(0.3, one.many.answering.set).start()
    assert one.close(0.0) == [] and one.states == ["on"]
    assert free(one.locks / "node0")


def test_two_that_are_one_device_are_never_at_it_at_a_time(lab: Make) -> None:
    one = lab(2, lock="blade")
    for _ in range(5):
        requests = one.submit(Action.ON) + one.submit(Action.OFF)
        one.done(requests)
    assert one.many.most == 1 and one.controls(0) == one.controls(1) == [ON, OFF] * 5


@pytest.mark.long
def test_one_that_never_answers_holds_up_none_of_a_thousand(lab: Make) -> None:
    one = lab(1000, {"node500": {"timeout": 3}})
    one.many.deaf = {500}
    *requests, last = sorted(one.submit(Action.ON), key=lambda request: request.target.outlets[0].pdu == "node500")
    one.done(requests)
    with pytest.raises(
        DeviceError, match=r"^node500: no answer from 127.18.2.1:\d+ at opening a session within \d+ s$"
    ):
        awaited(one.dispatcher, last, 60)
    assert one.states.count("on") == 999
    one.many.deaf.clear()
    assert all(said.state is State.ON for name, said in one.look().items() if name != "node500")


def test_a_deadline_in_the_middle_is_told_and_the_next_try_is_another_conversation(
    lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 0.05)
    one = lab(retries=2, retrydelay=0, timeout=3)
    one.many.bmcs[0].deaf_to = CHASSIS_CONTROL
    (request,) = one.submit(Action.ON)
    with pytest.raises(DeviceError, match=r"^node0: no answer from \S+ at the order 'on' within 3 s$"):
        awaited(one.dispatcher, request, 60)
    kinds = [event.kind for event in one.dispatcher.events.since(0)[0]]
    assert [kind for kind in kinds if kind in ("accepted", "begun", "tried", "ended")] == [
        "accepted",
        "begun",
        "tried",
        "tried",
        "ended",
    ]
    one.many.bmcs[0].deaf_to = None
    one.done(one.submit(Action.OFF))
    assert one.states == ["off"]


def test_jobs_of_all_kinds_are_done_in_the_order_of_acceptance(lab: Make) -> None:
    """Also where one of them is for a thread, as the disk must have a reboot first."""
    one = lab(3)
    requests: list[Request] = []
    for action in (Action.ON, Action.REBOOT, Action.OFF, Action.ON, Action.OFF, Action.ON, Action.REBOOT):
        requests += one.submit(action)
        if len(requests) % 2:
            one.look()
    one.done(requests)
    for number in range(3):
        assert one.controls(number) == [ON, CYCLE, OFF, ON, OFF, ON, CYCLE]


def test_one_that_takes_its_time_is_looked_at_without_a_thread(lab: Make, workers: list[str]) -> None:
    one = lab(20)
    for bmc in one.many.bmcs:
        bmc.lag = 2
    one.done(one.submit(Action.ON))
    assert one.states == ["on"] * 20 and not [name for name in workers if name.startswith("pdu ")]


@pytest.mark.parametrize("option", [{"verify": True}, {"min_interval": 0.001}, {"ip": "localhost"}])
def test_what_is_more_than_a_conversation_has_a_thread(lab: Make, workers: list[str], option: dict[str, Any]) -> None:
    one = lab()
    one.pdus["node0"] |= option
    if "ip" in option:
        one.pdus["node0"]["timeout"] = 0.5  # nobody listens there
    one.dispatcher.reload(one.config())
    (request,) = one.submit(Action.ON)
    try:
        awaited(one.dispatcher, request, 60)
    except PDUDaemonError as error:
        assert "localhost" in str(error)
    assert "pdu node0" in workers


@pytest.mark.usefixtures("words")
def test_a_class_that_changes_what_the_driver_does_has_a_thread() -> None:
    class Other(IPMI):
        models = {"other-ipmi": None}

        def port_interaction(self, command: str, port_number: int) -> None:
            super().port_interaction("on", port_number)

    settings = {"driver": "other-ipmi", "ip": "127.0.0.1", "username": USER, "password": PASSWORD}
    assert not hooks.traits(Other, settings).converses and hooks.traits(IPMI, settings).converses
    assert not hooks.traits(IPMI, {**settings, "ip": "node-bmc"}).converses


def test_a_reload_in_the_middle_is_for_the_next_job(lab: Make, workers: list[str]) -> None:
    one = lab(3)
    one.many.answering.clear()
    requests = one.submit(Action.ON)
    eventually(lambda: len(one.many.heard) == 1 and one.dispatcher._acting)
    one.pdus["node0"] = {"driver": "dummy"}
    one.pdus["node1"]["timeout"] = 50
    del one.pdus["node2"]
    one.dispatcher.reload(one.config())
    later = one.submit(Action.OFF, "node0", "node1")
    one.many.answering.set()
    one.done([*requests, *later])
    assert one.states == ["on", "off", "on"] and "pdu node0" in workers
    eventually(lambda: "node2" not in one.dispatcher._fleet.runners)
    assert not (one.locks / "node2").exists()


def test_at_the_end_a_pause_ends_and_what_was_begun_is_not_told_as_done(lab: Make) -> None:
    one = lab()
    one.many.bmcs[0].lag = 1_000_000
    (request,) = one.submit(Action.ON)
    eventually(lambda: len(one.many.bmcs[0].asked) > 2)
    assert one.close(0.1) == [] and one.controls() == [ON]
    assert request.ended is None and not one.many.bmcs[0].talks  # the session was closed


def test_who_still_waits_for_a_device_at_the_end_is_named(lab: Make) -> None:
    one = lab(3, timeout=4)
    one.many.deaf = {1}
    requests = one.submit(Action.ON)
    one.done([requests[0], requests[2]])
    assert one.close(0.1) == ["the worker of node1"]
    eventually(lambda: not one.dispatcher._fleet.runners["node1"].device.lock.locked(), 90)


def test_without_a_thread_they_wait_until_there_is_one(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PAUSE", 0.05)
    one = lab(6)
    with no_threads() as refused:
        requests = one.submit(Action.ON, *one.names[:5])
        assert refused.wait(30) and all(request.ended is None for request in requests)
    time.sleep(threads.PAUSE)
    one.done([*requests, *one.submit(Action.ON, "node5")])  # whoever comes looks whether there is one
    assert one.states == ["on"] * 6


def test_what_needs_a_thread_after_all_waits_until_there_is_one(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PAUSE", 0.05)
    one = lab(2)
    refused = threading.Event()
    started = threads.started

    def refuse(call: Any, name: str, whose: object) -> Any:
        if name == "pdu node0":
            refused.set()
            return None
        return started(call, name, whose)

    (one.locks / "node0").touch()
    with (one.locks / "node0").open("r+b") as held, monkeypatch.context() as patch:
        fcntl.flock(held, fcntl.LOCK_EX)
        patch.setattr(threads, "started", refuse)
        first, second = one.submit(Action.ON)
        one.done([second])
        assert refused.wait(30) and first.ended is None
    one.done([first])
    assert one.states == ["on"] * 2


@pytest.mark.usefixtures("meant")
@pytest.mark.parametrize("where", ["_begin", "_act"])
def test_a_fault_of_our_own_ends_the_job_and_the_next_one_begins(
    lab: Make, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    one = lab(2, retrydelay=0)
    jobs: Any = one.dispatcher._fleet.runners["node0"]
    original = getattr(jobs, where)

    def fault(*_: object) -> Any:
        monkeypatch.setattr(jobs, where, original)
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, where, fault)
    first, second = one.submit(Action.ON)
    if where == "_begin":  # it has not been tried yet, so that it is now
        one.done([first, second])
        assert one.states == ["on"] * 2
    else:
        with pytest.raises(DeviceError, match="node0: ZeroDivisionError"):
            awaited(one.dispatcher, first, 60)
        one.done([second])
    one.done(one.submit(Action.OFF))
    assert one.states == ["off"] * 2


def test_a_file_that_cannot_be_opened_is_told(lab: Make) -> None:
    one = lab()
    (one.locks / "node0").mkdir()
    (request,) = one.submit(Action.ON)
    with pytest.raises(DeviceError, match=r"the lock file \S+ cannot be used"):
        awaited(one.dispatcher, request, 60)
    assert isinstance(one.dispatcher._fleet.runners["node0"].device, Device) and not one.many.bmcs[0].asked


def test_killed_in_the_middle_all_of_a_command_is_done_by_the_next_one(daemon: Callable[..., Daemon]) -> None:
    with ManyBMCs(30) as many:
        names = [f"node{number}" for number in range(30)]
        here = daemon(
            {name: many.settings(number) for number, name in enumerate(names)},
            nodes={name: {"feeds": [{"hostname": name, "port": 1}]} for name in names},
        )
        assert here.power("on", "node0", 1).status == 200
        many.answering.clear()
        many.heard.clear()
        assert here.http("/?nodes=node[0-29]&wait=0", "PATCH").status == 200
        eventually(lambda: many.heard)
        here.kill()
        many.answering.set()
        here.start()
        eventually(lambda: all(bmc.outlets["1"] == "on" for bmc in many.bmcs), 60)
        assert here.stop() == 0
        assert "still running" not in here.log_text()


def test_terminated_in_the_middle_the_daemon_leaves_and_the_next_one_goes_on(daemon: Callable[..., Daemon]) -> None:
    with ManyBMCs(3) as many:
        here = daemon({f"node{number}": many.settings(number) for number in range(3)})
        many.deaf = {1}
        for number in range(3):
            assert here.power("on", f"node{number}", 1, wait=0).status == 200
        eventually(lambda: many.bmcs[0].outlets["1"] == many.bmcs[2].outlets["1"] == "on")
        begun = time.monotonic()
        here.stop()
        assert time.monotonic() - begun < 60 and "node1" in here.log_text()
        many.deaf.clear()
        here.start()
        eventually(lambda: many.bmcs[1].outlets["1"] == "on")


def test_readings_say_what_the_device_said(lab: Make) -> None:
    one = lab(2)
    one.many.bmcs[1].outlets["1"] = "on"
    said = one.look()
    assert all(isinstance(each, Reading) for each in said.values())
    assert (said["node0"].state, said["node1"].state) == (State.OFF, State.ON)


def test_clients_looks_reloads_and_orders_of_all_kinds_at_once(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is done once, in order, whichever threads its job comes by; places are few, and lost at once."""
    monkeypatch.setattr(pool, "PATIENCE", 0.02)
    monkeypatch.setattr(IPMI, "pool", type(vars(IPMI)["pool"])(lambda self: ("few", 3)))
    one = lab(8)
    words = {Action.ON: [ON], Action.OFF: [OFF], Action.REBOOT: [CYCLE]}
    told: list[list[bytes]] = [[] for _ in one.names]
    every: list[Request] = []
    ended = threading.Event()

    def switch(number: int) -> None:
        for turn in range(25):
            action = (Action.ON, Action.OFF, Action.ON, Action.REBOOT)[turn % 4]
            told[number] += words[action]
            every.extend(one.submit(action, one.names[number]))
            if turn % 6 == number % 6:
                awaited(one.dispatcher, every[-1], 60)

    def look() -> None:
        while not ended.wait(0.01):
            one.look()

    def reload() -> None:
        for turn in itertools.count():
            if ended.wait(0.05):
                return
            one.pdus[one.names[turn % 8]] |= {"timeout": 40 + turn % 7, "min_interval": 0.001 * (turn % 3)}
            one.dispatcher.reload(one.config())

    others = [threading.Thread(target=look), threading.Thread(target=reload)]
    clients = [threading.Thread(target=switch, args=(number,)) for number in range(8)]
    for each in (*others, *clients):
        each.start()
    for each in clients:
        each.join(120)
    one.done(every)
    ended.set()
    for each in others:
        each.join(60)
    assert [one.controls(number) for number in range(8)] == told
    assert not any(bmc.talks for bmc in one.many.bmcs)
