# SPDX-License-Identifier: MIT
"""`Lanes`: what follows each attempt, and what must be on the disk before it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pdudaemon.engine.store import Store
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, Phase, Request
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

HOUR = 3600.0


@pytest.mark.parametrize("failing", [("a", "b"), ("a",), ("b",)])
def test_no_feed_goes_off_before_the_disk_has_its_own_record(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...]
) -> None:
    """The feeds of a node act at a time, on PDUs of their own: each waits for the disk itself."""
    one = rack("a", "b")
    both_wait = threading.Barrier(2)
    in_sync: set[str] = set()

    def sync(_: Store) -> None:
        name = threading.current_thread().name.removeprefix("pdu ")
        in_sync.add(name)
        both_wait.wait(30)
        assert not one.seen  # nobody acts while somebody's record is not on the disk
        both_wait.wait(30)
        if name in failing:
            raise StoreError("no disk")

    monkeypatch.setattr(Store, "sync", sync)
    request = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), 0)
    with pytest.raises(StoreError, match="no disk"):
        awaited(one.dispatcher, request, 30)
    assert in_sync == {"a", "b"}
    assert one.seen == {name: "fo" for name in ("a", "b") if name not in failing}
    assert one.state(request.id) == "failed" and not request.debts


def test_each_try_after_a_start_has_its_record_on_the_disk(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last run committed may not have reached the disk, so it is synced again; once for all tries."""
    one = rack("a")
    one.held["a"] = threading.Event()
    submitted(one.dispatcher, Action.REBOOT, one.target("a"), 0)
    assert one.begun["a"].wait(30)
    synced: list[str] = []
    original = Store.sync

    def sync(store: Store) -> None:
        synced.append(one.seen["a"])
        original(store)

    monkeypatch.setattr(Store, "sync", sync)
    stopping = threading.Thread(target=one.stop)
    stopping.start()
    stopping.join(30)
    one.let_go("a")
    eventually(lambda: one.seen["a"] == "f")
    one.start()
    eventually(lambda: one.state(1) == "done")
    assert synced == ["f"] and one.seen["a"] == "ffo"


@pytest.mark.parametrize("restart", [False, True])
def test_a_request_that_is_cancelled_between_its_feeds_says_what_it_switched(
    rack: Callable[..., Rack], restart: bool
) -> None:
    one = rack("a", "b", settings={"retries": 2, "retrydelay": HOUR})
    one.refusing.add(("b", "on"))
    node = submitted(one.dispatcher, Action.ON, one.target("a", "b"))
    eventually(lambda: len(node.switched) == 2)
    if restart:
        one.clock.pass_by(HOUR)
        one.restart()
        eventually(lambda: one.state(node.id) == "expired")
    else:
        one.dispatcher.cancel(node.id)
    record = one.dispatcher.record(node.id)
    assert "switched before that: a port 1 on" in record["reason"]
    assert {"pdu": "a", "port": "1", "state": "on"} in record["switched"]
    assert {"pdu": "b", "port": "1", "state": "on"} not in record["switched"]


def test_an_on_of_a_reboot_whose_off_has_no_end_on_record_comes_at_once(rack: Callable[..., Rack]) -> None:
    """Its delay would be counted from there."""
    one = rack("a")
    on = Request(Action.REBOOT, one.target("a"), HOUR, "", 0.0, Phase.ON, remaining=[*one.target("a").outlets])
    on.accepted_uptime, on.debts = one.clock.uptime(), {*on.remaining}
    one.dispatcher._store.add_all([on])
    with one.dispatcher._lock:
        one.dispatcher._lanes.append(on)
    assert awaited(one.dispatcher, on, 30) and one.seen["a"] == "o"
