# SPDX-License-Identifier: MIT
"""Waiting: whoever is settled is told, by a call, once the dispatcher's lock has been given back."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine.queries import Answer, Look
from pdudaemon.errors import PDUDaemonError, StoreError
from pdudaemon.power import Action, Outlet, Reading, Request
from tests.support.process import eventually
from tests.support.rack import Rack, submitted


@pytest.fixture
def rack(tmp_path: Path) -> Any:
    """A rack of two PDUs, ended after the test."""
    made = Rack(tmp_path, {"left": {}, "right": {}})
    yield made
    made.stop()


def test_whoever_waits_is_told_when_the_daemon_stops(rack: Rack) -> None:
    told: dict[Request, PDUDaemonError | None] = {}
    rack.hold("left")
    accepted = [submitted(rack.dispatcher, action, rack.target("left")) for action in (Action.ON, Action.OFF)]
    for request in accepted:
        rack.dispatcher.join(request, lambda request, trouble: told.update({request: trouble}))
    rack.stop()
    rack.let_go("left")
    why = "but not done: the daemon is stopping, and resumes it when it starts again"
    assert {request: str(trouble) for request, trouble in told.items()} == {
        request: f"accepted as request {request.id}, {why}" for request in accepted
    }


def test_each_is_told_as_soon_as_it_is_known_and_once(rack: Rack) -> None:
    told: queue.SimpleQueue[tuple[Request, PDUDaemonError | None]] = queue.SimpleQueue()
    rack.hold("left")
    slow, fast = (submitted(rack.dispatcher, Action.ON, rack.target(name)) for name in ("left", "right"))
    for request in (slow, fast, fast):
        rack.dispatcher.join(request, lambda *words: told.put(words))
    assert [told.get(timeout=30) for _ in range(2)] == [(fast, None)] * 2
    rack.let_go("left")
    assert told.get(timeout=30) == (slow, None)
    rack.dispatcher.join(slow, lambda *words: told.put(words))  # what is settled is told at once
    assert told.get(timeout=30) == (slow, None) and told.empty()


def test_nobody_is_told_with_the_lock_held(rack: Rack) -> None:
    """Else a client that is slow to take its answer, or asks again at once, would hold up every PDU."""
    told: queue.SimpleQueue[object] = queue.SimpleQueue()

    def again(request: Request, _: PDUDaemonError | None) -> None:
        told.put(submitted(rack.dispatcher, Action.OFF, request.target).id)

    first = submitted(rack.dispatcher, Action.ON, rack.target("left"))
    rack.dispatcher.join(first, again)
    assert told.get(timeout=30) == first.id + 1
    eventually(lambda: rack.seen["left"] == "of")


def test_a_waiter_that_fails_costs_the_others_nothing(rack: Rack, caplog: pytest.LogCaptureFixture) -> None:
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    rack.hold("left")
    request = submitted(rack.dispatcher, Action.ON, rack.target("left"))
    rack.dispatcher.join(request, lambda *_: 1 / 0)
    rack.dispatcher.join(request, lambda *words: told.put(words))
    rack.let_go("left")
    assert told.get(timeout=30) == (request, None)
    assert "telling a client failed" in caplog.text


def test_what_ended_is_on_record_before_anybody_is_told(rack: Rack) -> None:
    states: queue.SimpleQueue[str] = queue.SimpleQueue()
    request = submitted(rack.dispatcher, Action.ON, rack.target("left", "right"))
    rack.dispatcher.join(request, lambda *_: states.put(rack.dispatcher.record(request.id)["state"]))
    assert states.get(timeout=30) == "done"


def test_a_store_that_takes_nothing_is_tried_again_and_who_waits_is_told_all_the_same(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdudaemon.engine.dispatcher.WRITE_AGAIN", 0.2)
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    store: Any = rack.dispatcher._store
    flush, tries = store.flush, []

    def refuse() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise StoreError("full")
        flush()

    rack.hold("left")
    request = submitted(rack.dispatcher, Action.ON, rack.target("left"))
    rack.dispatcher.join(request, lambda *words: told.put(words))
    store.flush = refuse
    rack.let_go("left")
    assert told.get(timeout=30) == (request, None)
    eventually(lambda: not store.noted)
    assert len(tries) >= 3


def test_the_state_of_many_outlets_is_told_one_by_one(rack: Rack) -> None:
    told: queue.SimpleQueue[tuple[Outlet, Answer]] = queue.SimpleQueue()
    rack.hold("left")
    outlets = [Outlet("left", "1"), Outlet("right", "1")]
    each = [Look([outlet], lambda answer, outlet=outlet: told.put((outlet, answer))) for outlet in outlets]
    both = Look(outlets, lambda answer: told.put((outlets[0], answer)))
    rack.dispatcher.ask([*each, both])
    assert told.get(timeout=30)[0] == outlets[1]
    rack.dispatcher.give_up([both], 5)
    assert "no answer within 5 s" in str(told.get(timeout=30)[1])
    rack.let_go("left")
    outlet, answer = told.get(timeout=30)
    assert outlet == outlets[0] and isinstance(answer, Reading)


def test_who_has_led_for_some_rounds_leaves_it_to_whoever_comes(rack: Rack) -> None:
    """Else one PDU's worker would serve all other clients as long as there are any, and not its own PDU."""
    lock = rack.dispatcher._lock
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    go, tired = threading.Event(), threading.Event()

    def tell(again: int) -> None:
        """Have a client be told who has a further one be told, as workers do without end under load."""
        told.put(threading.current_thread().name)
        if again:
            with lock.bare:
                lock.tell(tell, again - 1)
        if again == 5:  # the leader has led for more rounds than it has to
            tired.set()
            assert go.wait(60)

    def come() -> None:
        with lock:
            lock.tell(tell, 0)

    with lock.bare:
        lock.tell(tell, 10)
    first = threading.Thread(target=lock.lead, name="first")
    first.start()
    assert tired.wait(60)
    second = threading.Thread(target=come, name="second")
    second.start()
    eventually(lambda: lock._next.locked())
    come()  # a third one goes on with its own work at once
    go.set()
    first.join(60)
    second.join(60)
    names = [told.get(timeout=60) for _ in range(13)]
    assert names[:6] == ["first"] * 6 and names[6:].count("second") == 7 and told.empty()
    assert not lock._next.locked() and not lock._leading.locked()


def test_who_is_told_may_ask_again_however_long_the_leader_has_led(rack: Rack) -> None:
    """In the leader's own thread, which must not wait for itself."""
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def again(left: int) -> None:
        with rack.dispatcher._lock:
            if left:
                rack.dispatcher._lock.tell(again, left - 1)
        done.put(left)

    with rack.dispatcher._lock:
        rack.dispatcher._lock.tell(again, 20)
    assert sorted(done.get(timeout=60) for _ in range(21)) == [*range(21)]
