# SPDX-License-Identifier: MIT
"""What an outlet was last told to be: on record by itself, whatever becomes of history."""

from __future__ import annotations

import time
from pathlib import Path

from pdudaemon.engine.storage.store import Store
from pdudaemon.power import Action, Outlet, Phase, Request, State, Target
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

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
    request = Request(Action.ON, Target("x", outlets), 0, "", time.time(), Phase.ON, remaining=[*outlets])
    store.add_all([request])
    return request


def test_it_outlives_the_history_and_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(str(path), history=1)
    for number in range(200):
        request = accepted(store, A if number == 0 else B)
        store.switched(request, request.remaining[0], State.OFF if number == 0 else State.ON, number)
        request.ended, request.remaining = 1.0 + number, []
        store.note(request)
        store.flush()
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
        store.note(request)
        store.flush()
    store.close()
    assert (told(path, A), told(path, B)) == (State.OFF, State.ON)


def test_names_with_any_character(tmp_path: Path) -> None:
    outlets = [Outlet("Küche", 'Plug "1"'), Outlet("x", "half \udc00"), Outlet("\U0001f50c", "[2]\\")]
    path = tmp_path / "store"
    store = Store(str(path))
    request = accepted(store, *outlets)
    for outlet in outlets:
        store.switched(request, outlet, State.ON, 5.0)
    store.note(request)
    store.flush()
    store.close()
    assert [told(path, outlet) for outlet in outlets] == [State.ON] * 3


def test_each_outlet_of_a_node_has_its_own(tmp_path: Path) -> None:
    rack = Rack(tmp_path, {"a": {}, "b": {}})
    last = rack.dispatcher._store.last_told
    rack.refusing.add(("b", "off"))
    off = submitted(rack.dispatcher, Action.OFF, rack.target("a", "b"))
    eventually(lambda: off.ended)
    assert [(found := last(outlet)) and found[0] for outlet in (A, B)] == [State.OFF, State.UNKNOWN]
    rack.restart()
    last = rack.dispatcher._store.last_told
    assert [(found := last(outlet)) and found[0] for outlet in (A, B)] == [State.OFF, State.UNKNOWN]
    reboot = submitted(rack.dispatcher, Action.REBOOT, rack.target("a"), 3600)
    eventually(lambda: reboot.phase is Phase.ON)
    assert (found := last(A)) and found[0] is State.OFF
    rack.dispatcher.hurry(reboot)
    assert awaited(rack.dispatcher, reboot, 30)
    assert (found := last(A)) and found[0] is State.ON
    rack.stop()
