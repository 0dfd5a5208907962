# SPDX-License-Identifier: MIT
"""Waiting: whoever is settled is told, by a call, once the dispatcher's lock has been given back."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import waiting
from pdudaemon.engine.queries import Answer, Look
from pdudaemon.errors import PDUDaemonError, StoreError, TransientError
from pdudaemon.power import Action, Asked, Outlet, Phase, Reading, Request, Soft, Stage, Step, Submission, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted


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


@pytest.mark.usefixtures("meant")
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


def test_what_ends_once_the_store_takes_something_again_is_on_record_before_anybody_is_told(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is not yet time to try again: a kill at that moment would have it done twice."""
    monkeypatch.setattr("pdudaemon.engine.dispatcher.WRITE_AGAIN", 3600)
    store: Any = rack.dispatcher._store

    def refuse() -> None:
        raise StoreError("full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "flush", refuse)
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("left")), 30)
        eventually(lambda: rack.dispatcher._lock.refused)
    states: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    request = submitted(rack.dispatcher, Action.ON, rack.target("right"))
    rack.dispatcher.join(request, lambda *_: states.put([each["state"] for each in rack.dispatcher.records(2)]))
    assert states.get(timeout=30) == ["done", "done"]


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


def asked(action: Action = Action.OFF, phase: Phase = Phase.OFF, *ports: str, **words: Any) -> Request:
    """Return a request that nobody knows, for some ports of a PDU."""
    outlets = tuple(Outlet("left", port) for port in ports or ("1",))
    return Request(action, Target("x", outlets), 5.0, "", 0.0, phase, id=7, remaining=[*outlets], **words)


def text(error: PDUDaemonError | None) -> str:
    return f"{type(error).__name__}: {error}"


def test_what_is_told_of_one_that_is_settled() -> None:
    error, trouble = TransientError("refused"), TransientError("may be off")
    assert waiting.became(asked(ended=1.0)) is None
    assert waiting.became(asked(ended=1.0, error=error, trouble=trouble)) is error
    assert waiting.became(asked(error=error, trouble=trouble)) is trouble
    stopping = (
        "Stopping: accepted as request 7, but not done: the daemon is stopping, and resumes it when it starts again"
    )
    assert text(waiting.became(asked())) == text(waiting.became(asked(started=1.0))) == stopping
    assert text(waiting.became(asked(Action.REBOOT, Phase.RESTART))) == stopping
    cut = waiting.became(asked(Action.REBOOT, Phase.RESTART, started=1.0))
    assert text(cut) == "RequestEnded: accepted as request 7, cut short, as the daemon is stopping"


def test_what_is_told_of_one_that_goes_on() -> None:
    """What has failed before anything else; what its steps wait for; or who is before it."""
    request, now = asked(Action.OFF, Phase.OFF, "1", "2"), time.monotonic()

    def said(ahead: Request | None = None) -> str:
        found = text(waiting.not_done(request, 2.5, ahead))
        begin, end = "NotDone: accepted as request 7, not done after 2.5 s: ", "; it goes on"
        assert found.startswith(begin) and found.endswith(end)
        return found[len(begin) : -len(end)]

    assert said() == "it has not begun"
    assert said(asked()) == "queued behind request 7"
    one, other = (Step(request, outlet, Action.OFF, Action.OFF, at=now + 90.4) for outlet in request.target.outlets)
    request.steps += [one, other]
    assert said(asked()) == "waiting for its delay, for 90 s more"
    other.stage = Stage.RUNNING
    assert said() == "waiting for its delay, for 90 s more; left: the device has not answered yet"
    one.at = now - 1
    assert said() == "left: the device is busy; left: the device has not answered yet"
    other.stage = Stage.ENDED
    other.error = TransientError("of no concern")
    assert said() == "left: the device is busy"
    request.soft = Soft(60.0, asked={one.outlet: Asked(0.0, 0.0)})
    one.at = now + 50
    assert said() == "left port 1 has been asked to shut down"
    request.soft = Soft(60.0, asked={other.outlet: Asked(0.0, 0.0)})
    assert said() == "waiting for its delay, for 50 s more"
    request.action, one.action = Action.REBOOT, Action.ON
    request.soft = Soft(60.0, asked={one.outlet: Asked(0.0, 0.0)})
    assert said() == "left port 1 is off, and is switched on in 50 s"
    one.error = TransientError("refused\n twice")
    request.repairs.append(
        Step(request, other.outlet, Action.ON, Action.ON, repair=True, error=TransientError("refused\n twice"))
    )
    assert said(asked()) == "refused twice"
    request.error = TransientError("before")
    assert said() == "before; refused twice"


def test_trouble_that_was_told_stays_until_there_is_other(rack: Rack) -> None:
    told: list[str] = []
    lock, request = rack.dispatcher._lock, asked()
    with lock:
        lock.join(request, lambda *words: told.append(text(words[1])))
        assert not told and not request.settled
        lock.settle(request, TransientError("first"))
    assert told == ["TransientError: first"] and request.settled and not request.waiters
    with lock:
        lock.settle(request)
        lock.join(request, lambda *words: told.append(text(words[1])))
    assert told[1:] == ["TransientError: first"]
    with lock:
        lock.settle(request, TransientError("second"))
        lock.join(request, lambda *words: told.append(text(words[1])))
    assert told[2:] == ["TransientError: second"]


def test_whether_the_store_takes_things_is_known(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdudaemon.engine.dispatcher.WRITE_AGAIN", 3600)
    store: Any = rack.dispatcher._store
    assert rack.dispatcher.store == (str(rack.store), True) and not rack.dispatcher._lock.locked()

    def refuse() -> None:
        raise StoreError("full")

    (other,) = rack.hold("right", "1", Submission(Action.OFF, rack.target("right")))
    with monkeypatch.context() as patched:
        patched.setattr(store, "flush", refuse)
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("left")), 30)
        eventually(lambda: rack.dispatcher.store == (str(rack.store), False))
    rack.let_go("right")
    assert awaited(rack.dispatcher, other, 30)
    assert store.noted, "it is not tried again before its time"
    with rack.dispatcher._lock:
        rack.dispatcher._lock.write_again()
    eventually(lambda: not store.noted and rack.dispatcher.store[1])


def test_it_is_a_lock(rack: Rack) -> None:
    lock = rack.dispatcher._lock
    assert lock.acquire(False) and lock.locked()
    assert not lock.acquire(False) and not lock.acquire(timeout=0.01)
    lock.release()
    assert not lock.locked()
