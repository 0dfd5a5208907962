# SPDX-License-Identifier: MIT
"""What enters lanes, leaves them or is sent anew while others stand there has each of them act once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import TransientError
from pdudaemon.power import Action, Outlet, Phase, Request, State, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted

HOUR = 3600.0


def test_who_goes_from_behind_one_that_acts_does_not_begin_it_anew(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.held["a"] = threading.Event()
    node = submitted(one.dispatcher, Action.ON, one.target("a", "b"))
    assert one.begun["a"].wait(30)
    behind = submitted(one.dispatcher, Action.OFF, one.target("a"))
    one.dispatcher.cancel(behind.id)
    one.let_go("a")
    assert awaited(one.dispatcher, node, 30)
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.OFF, one.target("a")), 30)
    assert one.seen == {"a": "of", "b": "o"}


def test_what_is_sent_at_once_is_not_sent_when_it_was_to_be_as_well(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), 3)
    eventually(lambda: reboot.phase is Phase.ON)
    due = reboot.steps[0].at
    one.held["a"] = threading.Event()
    one.dispatcher.hurry(reboot)
    eventually(lambda: time.monotonic() > due + 0.1 and reboot.steps[0].running)
    one.let_go("a")
    assert awaited(one.dispatcher, reboot, 30)
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.OFF, one.target("a")), 30)
    assert one.seen["a"] == "fof"


def test_a_debt_that_is_paid_while_another_request_is_written_is_none_of_it(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("a")
    reboot = owing(one, "a")
    real = Store.add_all

    def add_all(*words: Any) -> None:
        one.refusing.clear()
        one.dispatcher.hurry(reboot)
        eventually(lambda: reboot.ended)
        real(*words)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "add_all", add_all)
        later = submitted(one.dispatcher, Action.OFF, one.target("a"), HOUR)
    one.dispatcher._store.flush()
    assert one.seen["a"] == "fo" and later.debts == one.dispatcher._store.request(later.id).debts == set()


def test_what_is_done_of_a_request_is_on_record_before_the_rest(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.held["b"] = threading.Event()
    node = submitted(one.dispatcher, Action.ON, one.target("a", "b"))
    assert one.begun["b"].wait(30)

    def on_record() -> Request:
        one.dispatcher._store.flush()
        return one.dispatcher._store.request(node.id)

    eventually(lambda: on_record().remaining == [Outlet("b", "1")])
    assert on_record().switched.keys() == {Outlet("a", "1")}
    one.let_go("b")


def test_what_was_switched_though_nobody_wants_it_any_more_is_on_record(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b", settings={"outlets": 4})
    gone = Outlet("a", "4")
    one.held["a"], one.held["b"] = threading.Event(), threading.Event()
    node = submitted(one.dispatcher, Action.OFF, Target("node", (gone, Outlet("b", "1"))))
    assert one.begun["a"].wait(30) and one.begun["b"].wait(30)
    one.pdus["a"]["outlets"] = 2
    one.dispatcher.reload(one.config())
    one.let_go("a")

    def on_record() -> object:
        one.dispatcher._store.flush()
        return one.dispatcher._store.request(node.id).switched.get(gone)

    state, _ = eventually(on_record)
    assert state is State.OFF
    one.let_go("b")


def test_of_a_reboot_whose_off_has_failed_that_is_told_though_the_on_is_done(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.refusing.add(("a", "off"))
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"))
    with pytest.raises(TransientError, match="a: refused"):
        awaited(one.dispatcher, reboot, 30)
    assert one.seen["a"] == "o" and str(reboot.results[Outlet("a", "1")]) == "a: refused"


def test_what_was_cancelled_is_not_done_when_it_was_to_be(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    off = submitted(one.dispatcher, Action.OFF, one.target("a"), 3)
    due = off.steps[0].at
    one.dispatcher.cancel(off.id)
    eventually(lambda: time.monotonic() > due + 0.1)
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target("a")), 30)
    assert one.seen["a"] == "o"


def test_who_waits_for_one_of_several_outlets_has_that_one_ahead(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    one.hold("b")
    node = submitted(one.dispatcher, Action.ON, one.target("a", "b"))
    ahead = one.dispatcher._lanes.ahead(node)
    assert ahead is not None and ahead.id == node.id - 1 and one.dispatcher._lanes.ahead(ahead) is None
    one.let_go("b")


def test_what_was_cancelled_while_its_device_was_at_something_else_is_not_done(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a", "2")
    off = submitted(one.dispatcher, Action.OFF, one.target("a"))
    one.dispatcher.cancel(off.id)
    one.let_go("a")
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target("a")), 30)
    assert one.seen["a"] == "oo"
