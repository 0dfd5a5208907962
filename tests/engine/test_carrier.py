# SPDX-License-Identifier: MIT
"""`Carrier`: PDUs that come back at once have the clients' thread, for as long as they do, and hold up nobody else."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine import carrier, device, threads
from pdudaemon.engine.carrier import Promptness
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.queries import Look
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import DeviceError
from pdudaemon.power import Action, Request, Submission
from pdudaemon.server.connections import SILENCE, Connections
from pdudaemon.transports import lockfile
from tests.support.leading import Lead, Worker
from tests.support.process import eventually, no_threads
from tests.support.rack import Rack, awaited, submitted

NAMES = [f"prompt{number}" for number in range(6)]  # other tests leave threads of PDUs of other names


class Threads(Rack):
    """Led by the thread that serves clients, of whom there are none.

    ``by`` is the name of the thread that each PDU was last called by.
    """

    def start(self) -> None:
        self.by: dict[str, str] = {}
        super().start()
        self.lead()

    def lead(self) -> None:
        work = self.dispatcher.work
        self.leader = Connections(self.dispatcher.config.daemon, lambda _: SILENCE, lambda: False, work)
        self.dispatcher.led_by(self.leader)
        self.leader.start()

    def stop(self) -> list[str]:
        left = super().stop()
        assert self.leader.close(60)
        return left

    def _driver(rack) -> type[PDUDriver]:
        class Switch(super()._driver()):  # type: ignore[misc]
            def port_interaction(self, command: str, port_number: Any) -> None:
                rack.by[self.hostname] = threading.current_thread().name
                super().port_interaction(command, port_number)

        return Switch


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other things must not look like a device that is slow."""
    monkeypatch.setattr(carrier, "PROMPT", 60.0)
    monkeypatch.setattr(carrier, "PATIENCE", 0.2)


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Threads]:
    made = Threads(tmp_path, {name: {"outlets": 8} for name in NAMES})
    yield made
    for name in [*made.held]:
        made.let_go(name)
    made.stop()


def switch(rack: Rack, *names: str, action: Action = Action.ON, port: str = "1") -> list[Request]:
    """Have a request for each of some PDUs accepted at once."""
    targets = [rack.dispatcher.config.target(name, port) for name in names]
    requests = rack.dispatcher.submit([Submission(action, target, 0.0, "") for target in targets])
    assert all(isinstance(request, Request) for request in requests)
    return [request for request in requests if isinstance(request, Request)]


def done(rack: Rack, requests: list[Request]) -> None:
    for request in requests:
        assert awaited(rack.dispatcher, request, 60)


def trusted(rack: Threads, *names: str) -> None:
    """Switch some PDUs until they are carried."""
    for _ in range(carrier.TRUST):
        done(rack, switch(rack, *names))
    eventually(lambda: not workers())
    done(rack, switch(rack, *names))
    assert {rack.by[name] for name in names} == {"connections"}


def workers() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("pdu prompt"))


def test_who_comes_back_at_once_time_and_again_is_carried(rack: Threads) -> None:
    for _ in range(carrier.TRUST):
        done(rack, switch(rack, *NAMES))
        assert rack.by == {name: f"pdu {name}" for name in NAMES}
    eventually(lambda: not workers())
    for action in (Action.OFF, Action.ON) * 5:
        done(rack, switch(rack, *NAMES, action=action))
        assert rack.by == dict.fromkeys(NAMES, "connections")
    assert dict(rack.seen) == dict.fromkeys(NAMES, "o" * carrier.TRUST + "fo" * 5)
    assert not workers() and not rack.dispatcher.pulse(10).hangs


def test_a_job_that_takes_time_after_all_keeps_the_thread_and_the_others_go_on(rack: Threads) -> None:
    slow, *others = NAMES
    trusted(rack, *NAMES)
    before = switch(rack, *others)
    rack.hold(slow)
    behind = switch(rack, slow, action=Action.OFF)
    for _ in range(3):
        done(rack, switch(rack, *others, action=Action.OFF))
    done(rack, before)
    eventually(lambda: workers() == [f"pdu {slow}"])
    assert behind[0].ended is None and {rack.by[name] for name in others} == {"connections"}
    rack.let_go(slow)
    done(rack, behind)
    assert rack.by[slow] == f"pdu {slow}" and rack.seen[slow][-2:] == "of"
    assert not rack.dispatcher.pulse(10).hangs


def test_what_was_done_before_it_is_told_though_nobody_else_comes(rack: Threads) -> None:
    slow, *others = NAMES
    trusted(rack, *NAMES)
    rack.held[slow] = threading.Event()
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    rack.dispatcher.submit(
        [
            Submission(Action.ON, rack.target(name), 0.0, "", waiter=lambda request, _: told.put(request.target.name))
            for name in (*others, slow)
        ]
    )
    assert [told.get(timeout=30) for _ in others] == others  # and nobody else takes the lock, who would tell them
    rack.let_go(slow)
    assert told.get(timeout=30) == slow


def test_one_alone_that_takes_time_holds_up_nobody_who_comes_later(rack: Threads) -> None:
    trusted(rack, *NAMES)
    rack.hold(NAMES[0])
    for name in NAMES[1:]:
        rack.hold(name)
    assert len(workers()) >= len(NAMES) - 1
    for name in NAMES:
        rack.let_go(name)
    eventually(lambda: all(len(rack.seen[name]) == carrier.TRUST + 2 for name in NAMES))


@pytest.mark.parametrize("prompt", [True, False])
def test_each_outlet_is_switched_in_the_order_of_acceptance(
    rack: Threads, monkeypatch: pytest.MonkeyPatch, prompt: bool
) -> None:
    """Whether the PDU goes from its own thread to the carrier's and back, or stays."""
    trusted(rack, *NAMES[:2])
    if not prompt:
        add, seconds = Promptness.add, itertools.cycle([60.0, 0.0, 0.0])
        monkeypatch.setattr(Promptness, "add", lambda one, _: add(one, next(seconds)))
    dispatcher = rack.dispatcher
    targets = [dispatcher.config.target(NAMES[0], str(port)) for port in range(1, 5)]
    actions = (Action.ON, Action.OFF, Action.REBOOT)
    requests = [submitted(dispatcher, actions[turn % 3], targets[turn % 4]) for turn in range(60)]
    done(rack, requests)
    for port in range(4):
        begun = [request.started or 0.0 for request in requests[port::4]]
        assert begun == sorted(begun)
    assert len(rack.seen[NAMES[0]]) == carrier.TRUST + 1 + 60 + 20


def test_what_the_disk_must_have_first_is_done_by_a_thread_of_its_own(rack: Threads) -> None:
    trusted(rack, *NAMES)
    by: list[str] = []
    rack.by = type("By", (dict,), {"__setitem__": lambda _, name, thread: by.append(thread)})()
    done(rack, switch(rack, NAMES[0], action=Action.REBOOT))
    assert by[0] == f"pdu {NAMES[0]}" and rack.seen[NAMES[0]][-2:] == "fo"


def test_who_fails_is_tried_again_by_a_thread_of_its_own(rack: Threads) -> None:
    trusted(rack, *NAMES)
    rack.refusing.add((NAMES[0], "off"))
    (request,) = switch(rack, NAMES[0], action=Action.OFF)
    with pytest.raises(DeviceError, match="refused"):
        awaited(rack.dispatcher, request, 60)
    rack.refusing.clear()
    done(rack, switch(rack, NAMES[0], action=Action.OFF))
    assert rack.by[NAMES[0]] == f"pdu {NAMES[0]}"


def test_questions_are_carried_as_well(rack: Threads) -> None:
    trusted(rack, *NAMES)
    answers: list[object] = []
    looks = [Look(rack.target(name).outlets, answers.append) for name in NAMES]
    rack.dispatcher.ask(looks)
    eventually(lambda: len(answers) == len(NAMES))
    assert not workers()


def test_the_device_is_given_back_when_nothing_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "KEPT", 0.05)
    monkeypatch.setattr(device, "KEPT", 0.05)

    class Locked(Threads):
        def start(self) -> None:
            self.by = {}
            (tmp_path / "locks").mkdir(exist_ok=True)
            self.dispatcher = Dispatcher(self.config(), Store(MEMORY), tmp_path / "locks")
            self.dispatcher.start()
            self.lead()
            self._running = True

    rack = Locked(tmp_path, {name: {} for name in NAMES})
    trusted(rack, *NAMES)
    for name in NAMES:
        descriptor = lockfile.opened(tmp_path / "locks" / name)
        eventually(lambda descriptor=descriptor: lockfile.is_free(descriptor))  # type: ignore[misc]
    runners = rack.dispatcher._fleet.runners
    eventually(lambda: all(runners[name]._queue is None for name in NAMES))  # ten thousand of them would cost 15 MiB
    rack.stop()


def test_without_a_thread_for_the_rest_they_wait_until_there_is_one(
    rack: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "PAUSE", 0.05)
    trusted(rack, *NAMES)
    with no_threads() as refused:
        rack.hold(NAMES[0])
        requests = switch(rack, *NAMES[1:])
        assert refused.wait(30)
        assert all(request.ended is None for request in requests)
    done(rack, requests)
    rack.let_go(NAMES[0])


def test_without_a_leader_each_has_a_thread_of_its_own(rack: Threads) -> None:
    trusted(rack, *NAMES)
    assert rack.leader.close(60)
    rack.dispatcher.led_by(None)
    done(rack, switch(rack, *NAMES))
    assert rack.by == {name: f"pdu {name}" for name in NAMES}
    rack.lead()
    done(rack, switch(rack, *NAMES))
    eventually(lambda: not workers())
    done(rack, switch(rack, *NAMES))
    assert rack.by == dict.fromkeys(NAMES, "connections")


def test_a_leader_whose_thread_has_died_is_told(rack: Threads) -> None:
    trusted(rack, *NAMES)
    assert not rack.dispatcher.pulse(10).hangs
    assert rack.leader.close(60)
    assert rack.dispatcher.pulse(10).hangs == "the thread that serves the clients has died"


def test_one_that_never_comes_back_is_named_at_the_end(rack: Threads) -> None:
    trusted(rack, *NAMES)
    rack.hold(NAMES[0])
    eventually(workers)
    absent, _ = rack.dispatcher.close(0)
    assert absent == [f"the worker of {NAMES[0]}"]
    rack._running = False


def test_one_that_has_changed_is_looked_at_anew(rack: Threads) -> None:
    trusted(rack, *NAMES)
    rack.pdus[NAMES[0]]["timeout"] = 7
    rack.dispatcher.reload(rack.config())
    for _ in range(2):
        done(rack, switch(rack, NAMES[0], NAMES[1]))
    assert rack.by[NAMES[0]] == f"pdu {NAMES[0]}"


def test_one_that_rests_between_actions_has_its_own_thread(tmp_path: Path) -> None:
    rack = Threads(tmp_path, {"pdu": {"min_interval": 0.001}})
    for _ in range(2 * carrier.TRUST):
        done(rack, switch(rack, "pdu"))
    assert rack.by == {"pdu": "pdu pdu"}
    rack.stop()


def test_trust_is_earned_lost_by_halves_and_dearer_after_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "PROMPT", 0.001)

    def needed(one: Promptness) -> int:
        for number in range(10_000):
            if one.enough:
                return number
            one.add(0.0005)
        raise AssertionError("never")

    one = Promptness()
    assert needed(one) == carrier.TRUST
    for _ in range(100):
        one.add(0.0005)
    one.add(0.002)
    assert one.enough
    one.add(0.002)
    assert needed(one) == carrier.TRUST // 2
    one.forget()
    assert needed(one) == carrier.TRUST
    one.was_mistaken()
    assert needed(one) == 2 * carrier.TRUST
    for _ in range(20):
        one.was_mistaken()
    assert needed(one) == carrier.MOST_TRUST


@pytest.mark.parametrize(
    ("seconds", "seen"),
    [
        (0.0, ["a b c woken", "a", ""]),
        (0.25, ["a b c woken", "a", ""]),
        (0.3, ["a b c woken", "a", ""]),
        (0.5, ["a b woken", "c a", ""]),
        (0.75, ["a b woken", "c a", ""]),
    ],
)
def test_one_turn_of_each_unless_it_has_been_enough(
    monkeypatch: pytest.MonkeyPatch, seconds: float, seen: list[str]
) -> None:
    """And what is left is done after the clients have been served."""
    lead = Lead(monkeypatch)
    for worker in (Worker(lead, "a", seconds, 2), Worker(lead, "b", seconds), Worker(lead, "c", seconds)):
        assert lead.carrier.carry(worker)
    for each in seen:
        lead.seen.clear()
        assert lead.carrier.work() is None
        assert lead.seen == each.split()


def test_the_thread_is_woken_by_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = Lead(monkeypatch)
    assert lead.carrier.work() is None
    assert lead.carrier.carry(Worker(lead, "own")) and lead.seen == []
    other = threading.Thread(target=lead.carrier.carry, args=(Worker(lead, "other"),))
    other.start()
    other.join(60)
    assert lead.seen == ["woken"]
    assert lead.carrier.work() is None and lead.seen == ["woken", "own", "other"]


def test_without_a_leader_nobody_is_taken_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = Lead(monkeypatch)
    assert not lead.carrier.dead
    lead.carrier.leader = None
    assert not lead.carrier.carry(Worker(lead, "nobody")) and not lead.entries


def test_a_job_that_takes_its_time_has_the_thread_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = Lead(monkeypatch)
    slow = Worker(lead, "slow", turns=2)

    def meanwhile() -> None:
        lead.now -= 0.001
        lead.look()  # not yet
        assert slow.kept is None and len(lead.entries) == 1
        lead.look()

    slow.meanwhile = meanwhile
    other = Worker(lead, "other")
    for worker in (slow, other):
        assert lead.carrier.carry(worker)
    assert [when for when, _ in lead.entries] == [100.0 + carrier.PATIENCE]
    monkeypatch.setattr(carrier, "PATIENCE", 0.6)
    assert lead.carrier.work() == slow.serve and slow.kept is threading.current_thread()
    assert lead.seen == ["woken", "woken", "slow", "succeeded"]
    lead.seen.clear()
    assert lead.carrier.work() is None and lead.seen == ["other"]  # by the thread that has succeeded


def test_without_another_thread_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = Lead(monkeypatch)
    lead.successor = None
    slow, other = Worker(lead, "slow", meanwhile=lead.look), Worker(lead, "other")
    for worker in (slow, other):
        assert lead.carrier.carry(worker)
    lead.seen.clear()
    assert lead.carrier.work() is None and slow.kept is None
    assert lead.seen == ["slow", "refused", "other"]
    assert [when for when, _ in lead.entries] == [lead.now + threads.PAUSE]


def test_it_is_looked_after_while_there_is_work_and_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = Lead(monkeypatch)
    assert lead.carrier.carry(Worker(lead, "a")) and lead.carrier.carry(Worker(lead, "b"))
    lead.look()  # nobody has begun yet
    lead.look()
    assert lead.carrier.work() is None
    last = lead.now
    while lead.entries:
        lead.look()
    assert lead.seen[2:] == ["a", "b"] and last + carrier.WATCHED <= lead.now < last + carrier.WATCHED + 0.6
    assert lead.carrier.carry(Worker(lead, "c")) and len(lead.entries) == 1


def test_those_that_have_been_carried_rest_once_a_second_until_that_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = Lead(monkeypatch)
    one, other = Worker(lead, "one", turns=2), Worker(lead, "other")
    one.at_rest = False
    for worker in (one, other):
        assert lead.carrier.carry(worker)
    for _ in range(2):
        assert lead.carrier.work() is None
    for rests in ((1, 1), (2, 1)):
        ((when, rest),) = lead.later
        assert when == lead.now + device.KEPT
        lead.later.clear()
        lead.now = when
        rest()
        assert (one.rests, other.rests) == rests
        one.at_rest = rests == (1, 1)
    assert not lead.later


def test_many_threads_of_clients_and_pdus_of_all_kinds_at_once(rack: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is prompt one time and not the next goes to and fro, and each request is done once, in order."""
    monkeypatch.setattr(carrier, "PATIENCE", 0.001)
    monkeypatch.setattr(carrier, "PROMPT", 0.0005)
    monkeypatch.setattr(carrier, "TRUST", 2)
    accepted: dict[str, list[Action]] = {name: [] for name in NAMES}
    every: list[Request] = []

    def client(name: str) -> None:
        for turn in range(40):
            action = (Action.ON, Action.OFF)[(turn + len(name)) % 2]
            accepted[name].append(action)
            request = submitted(rack.dispatcher, action, rack.target(name))
            every.append(request)
            if turn % 7 == 0:
                time.sleep(0.002)

    clients = [threading.Thread(target=client, args=(name,)) for name in NAMES]
    for each in clients:
        each.start()
    for each in clients:
        each.join(60)
    for request in every:
        assert awaited(rack.dispatcher, request, 60)
    words = {Action.ON: "o", Action.OFF: "f"}
    assert {name: rack.seen[name] for name in NAMES} == {
        name: "".join(words[action] for action in accepted[name]) for name in NAMES
    }
