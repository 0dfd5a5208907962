# SPDX-License-Identifier: MIT
"""What an outlet was last told to be: on record by itself, whatever becomes of history; and stores of version 1."""

from __future__ import annotations

import gc
import json
import sqlite3
import time
from pathlib import Path

import pytest

from pdudaemon.engine.store import Store
from pdudaemon.power import Action, Outlet, Phase, Request, State, Target
from tests.support.process import eventually
from tests.support.rack import Rack

A, B = Outlet("a", "1"), Outlet("b", "1")


def told(path: Path, outlet: Outlet) -> State | None:
    """Return what a store that nobody has open says of an outlet."""
    store = Store(str(path))
    try:
        found = store.last_told(outlet)
        return found and found[0]
    finally:
        store.close()


def accepted(store: Store, *outlets: Outlet) -> Request:
    """Return a request on record."""
    request = Request(Action.ON, Target("x", outlets), 0, "", time.time(), Phase.ON, outlets=[*outlets])
    request.id = store.add(request)
    return request


def test_it_outlives_the_history_and_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(str(path), history=1)
    for number in range(200):
        request = accepted(store, A if number == 0 else B)
        store.switched(request, request.outlets[0], State.OFF if number == 0 else State.ON, number)
        request.ended, request.outlets = 1.0 + number, []
        store.progress(request)
    eventually(lambda: len(store.rows(1000)) < 100)
    assert store.last_told(A) == (State.OFF, 0) and store.last_told(B) == (State.ON, 199)
    store.close()
    assert (told(path, A), told(path, B), told(path, Outlet("a", "2"))) == (State.OFF, State.ON, None)


def test_it_is_in_the_same_commit_and_of_the_last_to_switch(tmp_path: Path) -> None:
    """A request that goes on with its other outlets does not write again what others have switched since."""
    path = tmp_path / "store"
    store = Store(str(path))
    first, second = accepted(store, A, B), accepted(store, A)
    for request, outlet, state in ((first, A, State.ON), (second, A, State.OFF), (first, B, State.ON)):
        store.switched(request, outlet, state, 5.0)
        store.progress(request)
    store.close()
    assert (told(path, A), told(path, B)) == (State.OFF, State.ON)


def test_names_with_any_character(tmp_path: Path) -> None:
    outlets = [Outlet("Küche", 'Plug "1"'), Outlet("x", "half \udc00"), Outlet("\U0001f50c", "[2]\\")]
    path = tmp_path / "store"
    store = Store(str(path))
    request = accepted(store, *outlets)
    for outlet in outlets:
        store.switched(request, outlet, State.ON, 5.0)
    store.progress(request)
    store.close()
    assert [told(path, outlet) for outlet in outlets] == [State.ON] * 3


def test_each_outlet_of_a_node_has_its_own(tmp_path: Path) -> None:
    rack = Rack(tmp_path, {"a": {}, "b": {}})
    last = rack.dispatcher._store.last_told
    rack.refusing.add(("b", "off"))
    off = rack.dispatcher.submit(Action.OFF, rack.target("a", "b"))
    eventually(lambda: off.ended)
    assert [(found := last(outlet)) and found[0] for outlet in (A, B)] == [State.OFF, State.UNKNOWN]
    rack.restart()
    last = rack.dispatcher._store.last_told
    assert [(found := last(outlet)) and found[0] for outlet in (A, B)] == [State.OFF, State.UNKNOWN]
    reboot = rack.dispatcher.submit(Action.REBOOT, rack.target("a"), 3600)
    eventually(lambda: reboot.phase is Phase.ON)
    assert (found := last(A)) and found[0] is State.OFF
    rack.dispatcher.hurry(reboot)
    assert rack.dispatcher.wait(reboot, 30)
    assert (found := last(A)) and found[0] is State.ON
    rack.stop()


VERSION_1 = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    action TEXT NOT NULL, target TEXT NOT NULL, all_outlets TEXT NOT NULL, delay REAL NOT NULL, client TEXT NOT NULL,
    accepted REAL NOT NULL, phase TEXT NOT NULL, owed INTEGER NOT NULL,
    outlets TEXT NOT NULL, started REAL, off_ended REAL,
    ended REAL, outcome TEXT, reason TEXT);
PRAGMA user_version=1;
"""


def row(action: str, port: str, phase: str, owed: bool, ago: float, **more: object) -> dict[str, object]:
    """Return a row as version 1 wrote it."""
    outlets = json.dumps([["a", port]])
    return {
        "action": action, "target": f"a port {port}", "all_outlets": outlets, "delay": 0.0, "client": "old",
        "accepted": time.time() - ago, "phase": phase, "owed": owed, "outlets": outlets, **more,
    }  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return the path of a store of version 1, with some history and some work to do."""
    now = time.time()
    rows = [
        row("off", "2", "off", False, 9000, started=1.0, ended=now - 8999, outcome="done"),
        row("on", "3", "on", False, 9000, started=1.0, ended=now - 8999, outcome="done"),
        row("off", "3", "off", False, 9000, started=1.0, ended=now - 8998, outcome="failed", reason="x"),
        row("reboot", "4", "on", True, 9000, started=1.0, off_ended=2.0, ended=now - 8998, outcome="failed"),
        row("reboot", "1", "on", True, 7200, started=now - 7199, off_ended=now - 7198),
        row("reboot", "5", "off", True, 7200, started=now - 7199),
        row("reboot", "6", "off", True, 7200),
        row("on", "7", "on", True, 7200),
        row("off", "8", "off", False, 10),
    ]
    path = tmp_path / "store"
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_1)
        for each in rows:
            names = ", ".join(each)
            db.execute(f"INSERT INTO request ({names}) VALUES ({', '.join('?' * len(each))})", [*each.values()])
    db.close()
    return path


def test_a_store_of_version_1_loses_nothing(old: Path, tmp_path: Path) -> None:
    store = Store(str(old))
    assert [request.id for request in store.live() if request.must_switch_on] == [5, 6, 8]
    found = [store.last_told(Outlet("a", port)) for port in "1234567"]
    assert [each and each[0] for each in found] == [
        State.OFF, State.OFF, State.UNKNOWN, State.ON, None, None, None,
    ]  # fmt: skip
    store.close()
    rack = Rack(tmp_path, {"a": {}})
    eventually(lambda: len(rack.dispatcher._lanes.live) == 0)
    assert [rack.state(number) for number in (5, 6, 7, 8, 9)] == ["done", "done", "expired", "done", "done"]
    assert sorted(rack.seen["a"]) == ["f", "o", "o", "o"]
    rack.restart()
    assert rack.dispatcher.records(100)[-1]["state"] == "done"
    rack.stop()


def test_a_store_that_cannot_be_made_a_new_one_stays_as_it_is(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(old) as db:
        before = [*db.execute("SELECT * FROM request")]
    db.close()
    with monkeypatch.context() as patched:
        patched.setattr("pdudaemon.engine.storeschema._told_by", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store(str(old))
    gc.collect()  # closes what was open when it failed
    db = sqlite3.connect(old)
    assert [*db.execute("SELECT * FROM request")] == before
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()
