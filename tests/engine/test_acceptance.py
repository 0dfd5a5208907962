# SPDX-License-Identifier: MIT
"""`Acceptance`: one order of all requests, and nobody who only works waits for a store that writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.engine import debts
from pdudaemon.errors import Busy, KeyUsed, PDUDaemonError, StoreError
from pdudaemon.power import Action, Outcome, Request, Submission
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
    assert isinstance(again, Request) and again.id == first.id and told == [None] and one.seen["a"] == "f"
