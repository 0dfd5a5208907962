# SPDX-License-Identifier: MIT
"""`Carrier`: PDUs that come back at once share a thread, for as long as they do, and hold up nobody when they do not."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine import carrier, device, threads
from pdudaemon.engine.carrier import Promptness
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.queries import Look
from pdudaemon.engine.store import MEMORY, Store
from pdudaemon.engine.timetable import Timetable
from pdudaemon.errors import DeviceError
from pdudaemon.power import Action, Request, Submission
from pdudaemon.transports import lockfile
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

NAMES = [f"prompt{number}" for number in range(6)]  # other tests leave threads of PDUs of other names


class Threads(Rack):
    """``by`` is the name of the thread that each PDU was last called by."""

    def start(self) -> None:
        self.by: dict[str, str] = {}
        super().start()

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
    assert {rack.by[name] for name in names} == {"carrier"}


def workers() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("pdu prompt"))


def test_who_comes_back_at_once_time_and_again_is_carried(rack: Threads) -> None:
    for _ in range(carrier.TRUST):
        done(rack, switch(rack, *NAMES))
        assert rack.by == {name: f"pdu {name}" for name in NAMES}
    eventually(lambda: not workers())
    for action in (Action.OFF, Action.ON) * 5:
        done(rack, switch(rack, *NAMES, action=action))
        assert rack.by == dict.fromkeys(NAMES, "carrier")
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
    assert behind[0].ended is None and {rack.by[name] for name in others} == {"carrier"}
    rack.let_go(slow)
    done(rack, behind)
    assert rack.by[slow] == f"pdu {slow}" and rack.seen[slow][-2:] == "of"
    assert not rack.dispatcher.pulse(10).hangs


def test_what_was_done_before_it_is_told_though_nobody_else_comes(
    rack: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, *others = NAMES
    trusted(rack, *NAMES)
    monkeypatch.setattr(carrier, "GATHER", 60.0)
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
    with monkeypatch.context() as patch:
        refused = threading.Event()

        def refuse(_: threading.Thread) -> None:
            refused.set()
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        rack.hold(NAMES[0])
        requests = switch(rack, *NAMES[1:])
        assert refused.wait(30)
        assert all(request.ended is None for request in requests)
    done(rack, requests)
    rack.let_go(NAMES[0])


def test_the_thread_ends_with_the_daemon_and_when_it_is_idle(rack: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    def carriers() -> int:
        return sum(thread.name == "carrier" for thread in threading.enumerate())

    monkeypatch.setattr(carrier, "KEPT", 0.01)
    monkeypatch.setattr(device, "KEPT", 0.01)
    monkeypatch.setattr(carrier, "IDLE", 0.01)
    trusted(rack, *NAMES)
    eventually(lambda: carriers() == 0)
    monkeypatch.setattr(carrier, "IDLE", 60.0)
    done(rack, switch(rack, *NAMES))
    assert carriers() == 1 and rack.by == dict.fromkeys(NAMES, "carrier")
    assert rack.dispatcher.close(5)[0] == []
    assert carriers() == 0
    rack._running = False


def test_one_that_never_comes_back_is_named_at_the_end(rack: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted(rack, *NAMES)
    rack.hold(NAMES[0])
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


class Hands:
    """A carrier alone, whose clock a test sets: ``seen`` is who had a turn and when something was told, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.now = 100.0
        self.entries: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(carrier, "time", self)
        monkeypatch.setattr(carrier, "GATHER", 0.5)
        monkeypatch.setattr(carrier, "PATIENCE", 0.5)
        self.carrier = carrier.Carrier(self, lambda: self.seen.append("told"))  # type: ignore[arg-type]

    def monotonic(self) -> float:
        return self.now

    def at(self, when: float, call: Callable[[], None]) -> None:
        self.entries.append((when, call))


class Hand:
    """A worker; its turns last until it is ``free``, and the clock goes on by some ``seconds`` meanwhile."""

    def __init__(self, hands: Hands, name: str, seconds: float = 0.0, turns: int = 1) -> None:
        self.hands, self.name, self.seconds, self.turns = hands, name, seconds, turns
        self.begun, self.free = threading.Event(), threading.Event()
        self.free.set()
        self.kept: threading.Thread | None = None
        self.rests = 0

    def turn(self) -> bool:
        self.begun.set()
        assert self.free.wait(60)
        self.hands.now += self.seconds
        self.hands.seen.append(self.name)
        self.turns -= 1
        return self.turns > 0

    def keep(self, thread: threading.Thread) -> None:
        self.kept = thread

    def serve(self) -> None:
        self.hands.seen.append(f"{self.name} goes on")

    def rest(self) -> bool:
        self.rests += 1
        return True


def in_line(hands: Hands, first: Hand, *others: Hand) -> None:
    """Have others be carried while the thread is at the first."""
    first.free.clear()
    assert hands.carrier.carry(first) and first.begun.wait(60)
    for each in others:
        assert hands.carrier.carry(each)
    first.free.set()


@pytest.mark.parametrize(
    ("seconds", "seen"),
    [
        (0.0, "a b c a told"),
        (0.25, "a b c told a told"),
        (0.5, "a b told c a told"),
        (0.75, "a told b told c told a told"),
    ],
)
def test_what_came_of_jobs_is_told_when_there_is_no_more_or_has_been_enough(
    monkeypatch: pytest.MonkeyPatch, seconds: float, seen: str
) -> None:
    hands = Hands(monkeypatch)
    in_line(hands, Hand(hands, "a", seconds, 2), Hand(hands, "b", seconds), Hand(hands, "c", seconds))
    eventually(lambda: hands.seen == seen.split())
    hands.carrier.stop()
    assert hands.carrier.join(60) and not hands.carrier.dead


def test_it_is_looked_after_only_while_somebody_waits_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch)
    slow = Hand(hands, "slow")
    slow.free.clear()
    assert hands.carrier.carry(slow) and slow.begun.wait(60) and not hands.entries
    for name in "abc":
        assert hands.carrier.carry(Hand(hands, name))
        assert [when for when, _ in hands.entries] == [100.0 + carrier.PATIENCE]
    hands.now += carrier.PATIENCE / 2
    hands.entries.pop()[1]()
    assert slow.kept is None and [when for when, _ in hands.entries] == [hands.now + carrier.PATIENCE]
    hands.now += carrier.PATIENCE / 2
    hands.entries.pop()[1]()
    assert slow.kept is not None
    eventually(lambda: hands.seen == ["a", "b", "c", "told"])
    slow.free.set()
    slow.kept.join(60)
    assert hands.seen[4:] == ["slow", "slow goes on"]
    while hands.entries:
        hands.entries.pop()[1]()  # nobody waits any more: that is the end of it
    in_line(hands, Hand(hands, "d"), Hand(hands, "e"))
    assert len(hands.entries) == 1
    eventually(lambda: hands.seen[6:] == ["d", "e", "told"])
    hands.carrier.stop()
    assert hands.carrier.join(60) and not hands.carrier.ready()


def test_it_is_looked_after_for_as_long_as_there_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one in line is as good as any: what was done before him is not told yet."""
    hands = Hands(monkeypatch)
    one, other = Hand(hands, "one"), Hand(hands, "other")
    other.free.clear()
    in_line(hands, one, other)
    assert other.begun.wait(60)
    for _ in range(3):
        hands.now += carrier.PATIENCE / 4
        (entry,) = hands.entries
        hands.entries.clear()
        entry[1]()
    hands.now += carrier.PATIENCE / 4
    hands.entries.pop()[1]()
    assert other.kept is not None and not hands.entries
    other.free.set()
    other.kept.join(60)
    assert hands.seen == ["one", "other", "other goes on"]


def test_without_a_thread_nobody_is_taken_on_and_those_in_line_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch)
    started = threads.started
    monkeypatch.setattr(threads, "started", lambda *_: None)
    assert hands.carrier.carry(Hand(hands, "nobody")) is False and not hands.carrier.ready()
    monkeypatch.setattr(threads, "started", started)
    slow = Hand(hands, "slow")
    slow.free.clear()
    assert hands.carrier.ready() and hands.carrier.carry(slow) and slow.begun.wait(60)
    assert hands.carrier.carry(Hand(hands, "other"))
    monkeypatch.setattr(threads, "started", lambda *_: None)
    hands.now += carrier.PATIENCE
    hands.entries.pop()[1]()
    assert slow.kept is not None and [when for when, _ in hands.entries] == [hands.now + threads.PAUSE]
    monkeypatch.setattr(threads, "started", started)
    hands.entries.pop()[1]()
    eventually(lambda: hands.seen == ["other", "told"])
    slow.free.set()
    hands.carrier.stop()
    assert hands.carrier.join(60)


def test_a_thread_that_has_died_is_told() -> None:
    broken = carrier.Carrier(Timetable(threading.Lock()), lambda: None)
    broken._run = lambda: None  # type: ignore[method-assign]
    assert not broken.dead and broken.ready()
    assert broken.join(60) and broken.dead


def test_those_that_have_been_carried_rest_once_a_second_whoever_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch)
    one, other = Hand(hands, "one"), Hand(hands, "other")
    assert hands.carrier.carry(one)
    eventually(lambda: one.rests == 1)
    for _ in range(3):
        one.begun.clear()
        one.turns = 1
        in_line(hands, one, other)
    hands.now += device.KEPT
    in_line(hands, one)
    eventually(lambda: hands.seen[-1] == "told")
    assert one.rests == 1 and other.rests == 0
    hands.now += 0.001
    in_line(hands, other)
    eventually(lambda: (one.rests, other.rests) == (2, 1))
    hands.carrier.stop()
    assert hands.carrier.join(60)


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
