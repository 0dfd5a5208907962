# SPDX-License-Identifier: MIT
"""What a start reads, whatever history holds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.store import Store
from pdudaemon.power import Action, Command
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
        [end(asked("on", accepted=9e9), 9e9), asked("on"), end(asked("on", accepted=ACCEPTED + 7)), asked("on")]
    )
    store.close()
    with closing(Store(str(path))) as again:
        assert [(each.id, each.latest) for each in again.live()] == [(2, ACCEPTED + 7), (4, ACCEPTED)]


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
