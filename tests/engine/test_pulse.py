# SPDX-License-Identifier: MIT
"""The pulse: each thing that can ail the daemon is named, and a PDU that is busy is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.engine.pulse import Pulse
from pdudaemon.errors import StoreError
from pdudaemon.power import Action
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

SECONDS = 30.0


def test_a_daemon_with_a_busy_pdu_is_well(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    assert one.dispatcher.pulse(SECONDS) == Pulse() == one.dispatcher.pulse(SECONDS, thoroughly=True)


def test_a_lock_that_nobody_gives_back_is_noticed_in_time(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    begin = time.monotonic()
    with one.dispatcher._lock.bare:
        assert one.dispatcher.pulse(0.1).hangs == "the dispatcher does not turn"
    assert time.monotonic() - begin >= 0.1 and one.dispatcher.pulse(SECONDS) == Pulse()


def test_a_timetable_that_does_not_get_on_or_has_stopped(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    busy, timetable = threading.Event(), one.dispatcher._timetable

    def wait() -> None:
        one.dispatcher._lock.release()
        busy.wait(60)
        one.dispatcher._lock.acquire()

    with one.dispatcher._lock:
        timetable.at(0.0, wait)
    assert one.dispatcher.pulse(0.1).hangs == "the timetable does not turn"
    busy.set()
    assert one.dispatcher.pulse(SECONDS) == Pulse()
    with one.dispatcher._lock:
        timetable.stop()
    assert timetable.join(60) and one.dispatcher.pulse(SECONDS).hangs == "the timetable has stopped"


def test_a_worker_that_has_died_is_named(rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch) -> None:
    one = rack("a", "b")
    for name in ("a", "b"):
        assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target(name)), 30)
    runner = one.dispatcher._fleet.runners["a"]
    with monkeypatch.context() as patched:
        patched.setattr(runner, "_retired", lambda: True)  # it ends, and says so to nobody
        patched.setattr("pdudaemon.engine.runner.IDLE", 0.01)
        runner._queue.put(None)
        eventually(lambda: runner.dead)
    assert one.dispatcher.pulse(SECONDS).hangs == "the worker of a has died"


def test_a_store_that_takes_nothing(rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch) -> None:
    one = rack("a")
    asked: list[bool] = []

    def probe(thoroughly: bool) -> None:
        asked.append(thoroughly)
        raise StoreError("full")

    store: Any = one.dispatcher._store
    with monkeypatch.context() as patched:
        patched.setattr(store, "probe", probe)
        assert one.dispatcher.pulse(SECONDS) == Pulse(store="full") == one.dispatcher.pulse(SECONDS, thoroughly=True)
    assert asked == [False, True]
