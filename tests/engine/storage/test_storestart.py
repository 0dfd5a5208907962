# SPDX-License-Identifier: MIT
"""What a start reads, whatever history holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage.store import Store
from pdudaemon.power import Action, Command, Outlet, State
from tests.support.stores import ACCEPTED, asked, end


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_numbers_go_on_after_a_restart_and_after_the_history_is_gone(path: Path) -> None:
    store = Store(str(path), history=0)
    store.add_all([end(asked("on")) for _ in range(5)])
    store.close()
    store = Store(str(path), history=0)
    request = asked("on")
    store.add_all([request])
    assert request.id == 6
    store.close()


def test_how_far_the_clock_has_been_is_told_by_what_was_accepted_later(path: Path) -> None:
    store = Store(str(path))
    store.add_all(
        [
            end(asked("on", accepted=9e9), 9e9),
            asked("on"),
            end(asked("on", accepted=ACCEPTED + 7)),
            asked("on"),
            end(asked("on"), ACCEPTED + 3),
            end(asked("on"), ACCEPTED + 1),
        ]
    )
    store.close()
    with closing(Store(str(path))) as again:
        assert [(each.id, each.latest) for each in again.live()] == [(2, ACCEPTED + 7), (4, ACCEPTED + 3)]


def test_the_newest_of_all_tells_how_far_the_clock_has_been_as_well(path: Path) -> None:
    with closing(Store(str(path))) as store:
        store.add_all([asked("on"), end(asked("on"), ACCEPTED + 9)])
    with closing(Store(str(path))) as again:
        assert [each.latest for each in again.live()] == [ACCEPTED + 9]


def test_what_outlets_were_last_told_is_known_but_for_what_makes_no_sense(path: Path) -> None:
    store = Store(str(path))
    requests = [asked(action, Outlet("a", port)) for action, port in (("on", "1"), ("off", "2"), ("on", "\ud800"))]
    store.add_all(requests)
    for request in requests:
        store.note(end(request))
    store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO told VALUES ('a', '3', 'perhaps', 1.0), ('a', '4', 'on', 'once')")
        database.commit()
    with closing(Store(str(path))) as again:
        found = [again.last_told(Outlet("a", port)) for port in ("1", "2", "\ud800", "3", "4")]
    assert found == [(State.ON, ACCEPTED + 1), (State.OFF, ACCEPTED + 1), (State.ON, ACCEPTED + 1), None, None]


def test_requests_and_commands_are_numbered_apart_and_go_on_where_they_were(path: Path) -> None:
    store = Store(str(path))
    command = Command(Action.ON, "", ACCEPTED, ())
    store.add_all([], command)
    store.close()
    with closing(Store(str(path))) as store:
        request, more = asked("on"), Command(Action.OFF, "", ACCEPTED, ())
        store.add_all([request], more)
        assert (command.id, more.id, request.id) == (1, 2, 1)


def test_what_goes_on_is_found_behind_a_long_history(path: Path) -> None:
    store = Store(str(path))
    store.add_all([asked("on"), *(end(asked("on")) for _ in range(3000)), asked("off")])
    store.close()
    with closing(Store(str(path))) as store:
        assert [request.id for request in store.live()] == [1, 3002]
