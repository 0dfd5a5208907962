# SPDX-License-Identifier: MIT
"""`Acceptance`: one order of all requests, and nobody who only works waits for a store that writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.model import Config
from pdudaemon.engine import debts
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import Busy, KeyUsed, PDUDaemonError, StoreError
from pdudaemon.power import Action, Command, Outcome, Outlet, Phase, Request, Submission, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted


class Writing:
    """A submission that the store does not get written until it is let."""

    def __init__(self, rack: Rack, monkeypatch: pytest.MonkeyPatch, *wanted: Submission) -> None:
        store: Any = rack.dispatcher._store
        begun, self.go = threading.Event(), threading.Event()
        original = store.add_all

        def add_all(*words: Any) -> None:
            begun.set()
            assert self.go.wait(60)
            original(*words)

        monkeypatch.setattr(store, "add_all", add_all)
        self.accepted: list[Request | PDUDaemonError] = []
        self._thread = threading.Thread(target=lambda: self.accepted.extend(rack.dispatcher.submit(wanted)))
        self._thread.start()
        assert begun.wait(60)
        monkeypatch.setattr(store, "add_all", original)

    def end(self) -> list[Request | PDUDaemonError]:
        """Let it be written, and return what became of the requests."""
        self.go.set()
        self._thread.join()
        return self.accepted


def test_others_work_and_look_while_the_store_writes(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("a", "b")
    one.hold("b")
    (holding,) = one.dispatcher.records(1)
    writing = Writing(one, monkeypatch, Submission(Action.OFF, one.target("a")))
    assert one.dispatcher.summary() == "2 PDUs, 1 requests not ended"
    one.let_go("b")
    eventually(lambda: one.state(holding["id"]) == "done")
    assert not one.seen["a"], "not on record yet"
    (request,) = writing.end()
    assert isinstance(request, Request) and awaited(one.dispatcher, request, 30) and one.seen["a"] == "f"


def test_requests_are_numbered_and_wait_in_one_order(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("a")
    writing = Writing(one, monkeypatch, Submission(Action.OFF, one.target("a")))
    later: list[Request] = []
    thread = threading.Thread(target=lambda: later.append(submitted(one.dispatcher, Action.ON, one.target("a"))))
    thread.start()
    thread.join(0.2)
    (first,) = writing.end()
    thread.join()
    assert isinstance(first, Request) and first.id < later[0].id
    assert awaited(one.dispatcher, later[0], 30) and one.seen["a"] == "fo"


def test_a_debt_that_is_paid_while_the_store_writes_is_not_taken_over(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debts, "FIRST_BACK_OFF", 0.1)
    one = rack("a")
    reboot = owing(one, "a")
    writing = Writing(one, monkeypatch, Submission(Action.ON, one.target("a"), delay=3600))
    one.refusing.clear()
    eventually(lambda: reboot.ended is not None)
    (later,) = writing.end()
    assert isinstance(later, Request) and not later.debts and one.seen["a"] == "fo"
    assert reboot.outcome is Outcome.FAILED or reboot.outcome is Outcome.DONE
    one.dispatcher.cancel(later.id)  # which one that owes an on does not allow
    one.restart()
    assert one.seen["a"] == "fo" and not one.dispatcher._lanes.live


def test_a_debt_that_is_not_paid_yet_is_taken_over(rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch) -> None:
    one = rack("a")
    reboot = owing(one, "a")
    writing = Writing(one, monkeypatch, Submission(Action.ON, one.target("a"), delay=3600))
    one.refusing.clear()
    (later,) = writing.end()
    assert isinstance(later, Request) and awaited(one.dispatcher, later, 30)
    assert reboot.outcome is Outcome.SUPERSEDED and one.seen["a"] == "fo"


def test_what_the_store_does_not_take_has_not_happened(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("a", "b")
    reboot = owing(one, "a")

    def refuse(*_: object) -> None:
        raise StoreError("full")

    with monkeypatch.context() as patched:
        patched.setattr(one.dispatcher._store, "add_all", refuse)
        wanted = [Submission(Action.ON, one.target(name), delay=3600) for name in ("a", "b")]
        assert [str(error) for error in one.dispatcher.submit(wanted)] == ["full", "full"]
    assert reboot.debts and not one.seen["b"]
    assert [record["id"] for record in one.dispatcher.records(10)] == [reboot.id]


def test_a_key_twice_at_once_is_one_request_if_that_is_accepted(rack: Callable[..., Rack]) -> None:
    one = rack("a", max_queue=1)
    told: list[Request] = []

    def wanted(action: Action, delay: float) -> Submission:
        return Submission(action, one.target("a"), delay, waiter=lambda request, _: told.append(request), key="k")

    first, second, other = one.dispatcher.submit([wanted(Action.OFF, 0), wanted(Action.OFF, 0), wanted(Action.ON, 0)])
    assert isinstance(first, Request) and second is first and isinstance(other, KeyUsed)
    eventually(lambda: told == [first, first])
    assert one.seen["a"] == "f"


def test_a_key_is_not_that_of_a_request_that_was_refused(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b", max_queue=1)
    one.hold("a")
    both = [Submission(Action.OFF, one.target(name), key="k") for name in ("a", "b")]
    refused, accepted = one.dispatcher.submit(both)
    assert isinstance(refused, Busy)
    assert isinstance(accepted, Request) and awaited(one.dispatcher, accepted, 30) and one.seen["b"] == "f"


def test_a_key_of_what_has_just_ended_tells_what_became_of_it(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has ended, and the store has yet to hear of that."""
    one = rack("a")
    with monkeypatch.context() as patched:
        patched.setattr(one.dispatcher._lock, "lead", lambda: None)
        (first,) = one.dispatcher.submit([Submission(Action.OFF, one.target("a"), key="k")])
        assert isinstance(first, Request)
        eventually(lambda: first.ended is not None)
    told: list[PDUDaemonError | None] = []
    (again,) = one.dispatcher.submit(
        [Submission(Action.OFF, one.target("a"), waiter=lambda _, trouble: told.append(trouble), key="k")]
    )
    assert isinstance(again, Request) and again.id == first.id and one.seen["a"] == "f"
    eventually(lambda: told == [None])


def accepted(rack: Rack, *wanted: Submission, command: Command | None = None) -> list[Any]:
    """Return what became of submissions: requests, or the texts of refusals."""
    found = rack.dispatcher.submit(wanted, command)
    return [each if isinstance(each, Request) else str(each) for each in found]


def off(rack: Rack, *pdus: str, **words: Any) -> Submission:
    return Submission(Action.OFF, rack.target(*pdus), **words)


def test_a_queue_has_room_for_so_many_requests_and_so_many_of_an_address(rack: Callable[..., Rack]) -> None:
    """Of a node with several feeds each PDU has one; what has ended has given its room back, also that of its address."""
    one = rack("a", "b", max_queue=4, max_queue_per_address=2)
    for _ in range(2):
        one.hold("a")
        assert [isinstance(each, Request) for each in accepted(one, off(one, "a", address="x"))] == [True]
        found = accepted(one, off(one, "a", "b", address="x"), off(one, "a", address="x"), off(one, "b", address="x"))
        assert [isinstance(each, Request) for each in found] == [True, False, True]
        assert found[1] == "a: its queue is full for x: 2 requests are from there"
        found = accepted(one, off(one, "a", address="y"), off(one, "a", address="z"), off(one, "a"))
        assert [isinstance(each, Request) for each in found] == [True, False, False]
        assert found[1:] == ["a: its queue is full: 4 requests"] * 2
        assert [pdu["requests"] for pdu in one.dispatcher.snapshot()] == [4, 2]
        one.let_go("a")
        eventually(lambda: not one.dispatcher.live_figures().unended)
        assert [pdu["requests"] for pdu in one.dispatcher.snapshot()] == [0, 0]
    assert one.seen == {"a": "offf" * 2, "b": "ff" * 2}


@pytest.mark.parametrize(("most", "own", "room"), [(200, 0, 50), (40, 0, 32), (200, 7, 7), (3, 5, 3)])
def test_an_address_has_a_quarter_of_a_queue_but_a_few_at_least_unless_it_is_set(
    rack: Callable[..., Rack], most: int, own: int, room: int
) -> None:
    settings = {"max_queue_per_address": own} if own else {}
    one = rack("a", max_queue=most, **settings)
    found = accepted(one, *[off(one, "a", delay=3600, address="x")] * (room + 1))
    assert [isinstance(each, Request) for each in found] == [True] * room + [False]
    assert "its queue is full" in found[-1]


def test_what_was_cancelled_takes_room_until_the_device_has_passed_it_over(rack: Callable[..., Rack]) -> None:
    one = rack("a", max_queue=2)
    one.hold("a")
    for port in ("2", "3"):
        (later,) = accepted(one, Submission(Action.OFF, one.dispatcher.config.target("a", port)))
        one.dispatcher.cancel(later.id)
    last = Submission(Action.OFF, one.dispatcher.config.target("a", "4"))
    assert accepted(one, last) == ["a: its queue is full: 2 steps, and the device does not get on"]
    one.let_go("a")
    eventually(lambda: isinstance(accepted(one, last)[0], Request))


def test_who_asks_twice_with_a_key_must_ask_for_the_same(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    outlet = one.dispatcher.config.target("a", "2")
    (first,) = accepted(one, off(one, "a", "b", delay=3600, key="k" * 150))
    again = [
        off(one, "b", "a", delay=3600, key="k" * 150),
        off(one, "a", "b", key="k" * 150),
        off(one, "a", delay=3600, key="k" * 150),
        Submission(Action.ON, one.target("a", "b"), 3600, key="k" * 150),
        Submission(Action.OFF, outlet, 3600, key="k" * 150),
    ]
    refusal = f"the idempotency key '{'k' * 100}' is that of another request"
    assert accepted(one, *again) == [first, *[refusal] * 4] and not first.waiters, "nobody waits here"
    assert accepted(one, *again[:2], off(one, "a", key="k"))[:2] == [first, refusal]


def test_a_key_of_a_command_is_none_of_a_request_and_the_other_way_round(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    command = Command(Action.OFF, "me", 1.0, ("n",), key="c")
    (first,) = accepted(one, off(one, "a", names=("n",)), command=command)
    assert accepted(one, off(one, "a", key="c")) == ["the idempotency key 'c' is that of a command"]
    (second,) = accepted(one, off(one, "a", key="r"))
    other = Command(Action.OFF, "me", 1.0, ("n",), key="r")
    refusal = "the idempotency key 'r' is that of another request"
    assert accepted(one, *[off(one, "a", names=("n",))] * 2, command=other) == [refusal] * 2
    assert [record["id"] for record in one.dispatcher.records(10)] == [second.id, first.id]


def test_a_command_twice_is_the_command_that_was_accepted(rack: Callable[..., Rack]) -> None:
    """Whoever asks again is told what becomes of its requests; what was refused then is not done now."""
    one = rack("a", "b", max_queue=1)
    one.hold("b")
    told: list[int] = []

    def wanted() -> list[Submission]:
        parts = [("a", "n1"), ("b", "n2")]
        return [off(one, pdu, names=(name,), waiter=lambda request, _: told.append(request.id)) for pdu, name in parts]

    first = Command(Action.OFF, "me", 1.0, ("n1", "n2", "n3"), key="c")
    request, refused = accepted(one, *wanted(), command=first)
    assert refused == "b: its queue is full: 1 requests"
    eventually(lambda: told == [request.id])
    one.let_go("b")
    eventually(lambda: not one.dispatcher.live_figures().unended)
    again = Command(Action.OFF, "me", 2.0, ("n1", "n2", "n3"), key="c")
    locked = Submission(Action.OFF, replace(one.target("a"), locked="a is locked"), names=("n3",))
    found = accepted(one, *wanted(), locked, command=again)
    assert found[0].id == request.id
    assert found[1] == f"was refused when command {first.id} was accepted"
    assert found[2] == "a is locked"
    assert (again.id, again.accepted) == (first.id, 1.0)
    eventually(lambda: told == [request.id] * 2)
    assert one.seen == {"a": "f", "b": "o"}
    for action, names in ((Action.ON, ("n1", "n2", "n3")), (Action.OFF, ("n1", "n2"))):
        other = Command(action, "me", 2.0, names, key="c")
        assert accepted(one, *wanted(), command=other) == ["the idempotency key 'c' is that of another command"] * 2
    (alone,) = accepted(one, off(one, "a"), command=Command(Action.OFF, "me", 1.0, ("n1", "n2", "n3"), key="c"))
    assert alone == f"was refused when command {first.id} was accepted"


def test_a_command_twice_is_asked_for_in_the_same_way(rack: Callable[..., Rack]) -> None:
    """Another delay, or a machine that is asked to shut down first, is something else, as it is of one request."""
    one = rack("a", "b")

    def wanted(delay: float, **words: Any) -> list[Any]:
        command = Command(Action.OFF, "me", 1.0, ("n1", "n2"), key="c")
        return accepted(one, *(off(one, *each, delay=delay, names=(n,), **words) for each, n in parts), command=command)

    parts = [("a", "n1"), ("b", "n2")]
    first = wanted(3600)
    assert [each.id for each in wanted(3600)] == [each.id for each in first]
    refusal = "the idempotency key 'c' is that of another command"
    assert wanted(0) == [refusal] * 2
    one.dispatcher.cancel(first[0].id)
    assert wanted(1800) == [refusal] * 2
    assert [each.id for each in wanted(3600)] == [each.id for each in first]
    assert not one.seen


def test_who_asks_again_for_what_goes_on_waits_for_it_as_well(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    told: list[str] = []
    command = Command(Action.OFF, "me", 1.0, ("n",), key="c")
    for who in ("first", "second"):
        accepted(one, off(one, "a", names=("n",), waiter=lambda *_, who=who: told.append(who)), command=command)
        accepted(one, off(one, "a", key="k", waiter=lambda *_, who=who: told.append(who)))
    assert one.dispatcher.snapshot()[0]["requests"] == 3 and not told
    one.let_go("a")
    eventually(lambda: told == ["first", "second"] * 2)
    assert one.seen["a"] == "off"


def test_those_that_have_begun_before_the_disk_has_failed_are_accepted(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("a", "b", "c", "d", fsync="all")
    one.hold("b")
    one.held["c"] = threading.Event()
    one.begun["c"].clear()
    done = threading.Event()

    def sync(_: object) -> None:
        assert done.wait(60) and one.begun["c"].wait(60)
        raise StoreError("no disk")

    def waiter(*_: object) -> None:
        done.set()

    monkeypatch.setattr(Store, "sync", sync)
    wanted = [
        off(one, "b"),
        off(one, "c"),
        Submission(Action.OFF, Target("?", (Outlet("x", "1"),))),
        off(one, "a", waiter=waiter),
    ]
    refused, running, unknown, ended = accepted(one, *wanted)
    assert refused == "no disk" and "x" in unknown
    assert isinstance(running, Request) and isinstance(ended, Request)
    one.let_go("b")
    one.let_go("c")
    eventually(lambda: [record["state"] for record in one.dispatcher.records(3)] == ["done", "done", "failed"])
    assert one.seen == {"a": "f", "b": "o", "c": "f"}


def test_what_is_accepted_is_logged_with_who_asked(rack: Callable[..., Rack], caplog: pytest.LogCaptureFixture) -> None:
    one = rack("a")
    with caplog.at_level("INFO", "pdud.dispatcher"):
        accepted(one, off(one, "a", client="you"))
    with caplog.at_level("DEBUG", "pdud.dispatcher"):
        accepted(
            one, off(one, "a", delay=3600.5, client="me"), Submission(Action.OFF, Target("?", (Outlet("x", "1"),)))
        )
    said = [each.getMessage() for each in caplog.records if "accepted from" in each.getMessage()]
    assert said == ["request 2: off a, delay 3600.5 s, accepted from me"]


class Machines(Rack):
    """PDUs whose own restart is the right reboot, and that can ask a machine to shut down."""

    def config(self) -> Config:
        found = super().config()
        traits = {"restarts": True, "shuts_down": True, "reads_state": True}
        pdus = {name: replace(pdu, traits=replace(pdu.traits, **traits)) for name, pdu in found.pdus.items()}
        return replace(found, pdus=pdus)


def test_a_device_restarts_by_itself_if_it_is_alone_and_need_not_be_asked(tmp_path: Path) -> None:
    one = Machines(tmp_path, {"a": {}, "b": {}})
    for name in ("a", "b"):
        one.hold(name)
    reboots = [
        Submission(Action.REBOOT, one.target("a"), 1.5),
        Submission(Action.REBOOT, one.target("a"), soft=7.0, hard=False),
        Submission(Action.REBOOT, one.target("a", "b")),
        Submission(Action.OFF, one.target("a"), address="x", soft=8.0),
        Submission(Action.ON, one.target("a"), soft=9.0),
    ]
    found = accepted(one, *reboots)
    assert [each.phase for each in found[:4]] == [Phase.RESTART, Phase.OFF, Phase.OFF, Phase.OFF]
    assert found[4] == "soft: is for off and reboot, not for on"
    assert [None if each.soft is None else (each.soft.seconds, each.soft.hard) for each in found[:4]] == [
        None,
        (7.0, False),
        None,
        (8.0, True),
    ]
    assert [(each.delay, each.address, len(each.remaining)) for each in found[:4]] == [
        (1.5, "", 1),
        (0.0, "", 1),
        (0.0, "", 2),
        (0.0, "x", 1),
    ]
    assert all(each.boot == "first" and each.accepted_uptime > 0 for each in found[:4])
    for each in found[:4]:
        one.dispatcher.cancel(each.id)
    for name in ("a", "b"):
        one.let_go(name)
    one.stop()


def test_a_key_of_a_soft_off_is_not_that_of_another(tmp_path: Path) -> None:
    one = Machines(tmp_path, {"a": {}})
    one.hold("a")
    (first,) = accepted(one, off(one, "a", soft=5.0, key="k"))
    again = [{"soft": 5.0}, {}, {"soft": 6.0}, {"soft": 5.0, "hard": False}]
    refusal = "the idempotency key 'k' is that of another request"
    assert accepted(one, *[off(one, "a", key="k", **each) for each in again]) == [first, *[refusal] * 3]
    one.dispatcher.cancel(first.id)
    one.let_go("a")
    one.stop()
