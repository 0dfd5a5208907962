# SPDX-License-Identifier: MIT
"""What enters lanes, leaves them or is sent anew while others stand there has each of them act once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.engine.storage.store import Store
from pdudaemon.power import Action, Phase
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
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), 0.5)
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
