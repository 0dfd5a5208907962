# SPDX-License-Identifier: MIT
"""The store: what is committed when, in what order, and what is left of it if the machine does not play along."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storeupkeep
from pdudaemon.engine.storage.store import CHUNK, MEMORY, Store
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, Command, Outlet, Phase, State
from tests.support.process import eventually, full_disk
from tests.support.stores import ACCEPTED, asked, end

A, B = Outlet("a", "1"), Outlet("b", "1")


def killed(path: Path) -> Store:
    """Open what a daemon that is killed now leaves."""
    copy = Path(f"{path}.left")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return Store(str(copy))


def left(path: Path) -> list[int]:
    """Return the requests that go on after a kill."""
    store = killed(path)
    try:
        return [request.id for request in store.live()]
    finally:
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.mark.parametrize("many", [1, 2, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_requests_are_numbered_in_order_and_on_record_at_once(path: Path, many: int) -> None:
    store = Store(str(path))
    requests = [asked("on", Outlet("a", str(number))) for number in range(many)]
    store.add_all(requests)
    assert [request.id for request in requests] == [*range(1, many + 1)] == left(path)
    for request in requests:
        store.note(end(request))
    assert store.noted and left(path) == [*range(1, many + 1)]
    store.flush()
    assert not store.noted and left(path) == []
    store.close()


def test_statements_have_few_sizes_and_repeat_their_last_row(path: Path) -> None:
    """Each that SQLite has compiled is kept; and all rows are one commit, whatever they take."""
    store = Store(str(path))
    said: list[str] = []
    store._open.database.set_trace_callback(said.append)
    sizes = {}
    for many in (1, 2, 5, 7, CHUNK, CHUNK + 5):
        said.clear()
        store.add_all([asked("on", Outlet("a", str(number))) for number in range(many)])
        rows = [
            each.partition("VALUES (")[2].partition(" ON CONFLICT")[0].split("), (")
            for each in dict.fromkeys(said)  # SQLite says it once more for a trigger
            if each.startswith("INSERT INTO request (")
        ]
        sizes[many] = [len(each) for each in rows]
        assert len({row for each in rows for row in each}) >= many
        whole = [each for each in said if each in ("BEGIN IMMEDIATE", "COMMIT")]
        assert whole == ["BEGIN IMMEDIATE", "COMMIT"] * (many > CHUNK)
    assert sizes == {1: [1], 2: [2], 5: [6], 7: [8], CHUNK: [CHUNK], CHUNK + 5: [CHUNK, 6]}
    store.close()


def test_what_is_noted_is_what_it_was_then(path: Path) -> None:
    """And the newest counts; what changes later is in no commit until it is noted."""
    store = Store(str(path))
    request = asked("reboot", A, B)
    store.add_all([request])
    request.debts, request.started = {A}, ACCEPTED
    store.note(request)
    request.debts, request.started = {A, B}, ACCEPTED + 1
    store.note(request)
    request.debts.clear()
    request.phase = Phase.ON
    request.remaining.clear()
    store.flush()
    with closing(killed(path)) as kept:
        (found,) = kept.live()
        assert (found.debts, found.started, found.phase, found.remaining) == ({A, B}, ACCEPTED + 1, Phase.OFF, [A, B])
    store.close()


def test_what_is_noted_is_committed_with_what_comes_after_it(path: Path) -> None:
    store = Store(str(path))
    first, second = asked("on"), asked("off")
    store.add_all([first])
    store.note(end(first))
    store.add_all([second])
    assert not store.noted and left(path) == [2]
    store.close()


def test_a_close_loses_nothing_that_was_noted(path: Path) -> None:
    store = Store(str(path))
    request = asked("on")
    store.add_all([request])
    store.note(end(request))
    store.close()
    with closing(Store(str(path))) as again:
        assert not again.live() and again.record(1)["state"] == "done"


def test_what_a_full_disk_does_not_take_has_not_happened_or_stays_noted(path: Path) -> None:
    store = Store(str(path))
    first, refused, later = asked("on"), asked("on"), asked("off")
    store.add_all([first])
    store.note(end(first))
    with full_disk():
        for attempt in (store.flush, lambda: store.add_all([refused])):
            with pytest.raises(StoreError, match="File too large"):
                attempt()
            assert store.noted and refused.id == 0
        command = Command(Action.ON, "", ACCEPTED, ("n1",))
        with pytest.raises(StoreError, match="File too large"):
            store.add_all([refused], command)
        assert refused.command is None and command.id == 0
        with pytest.raises(StoreError, match="File too large"):
            store.probe(thoroughly=False)
    store.add_all([later])
    assert not store.noted and left(path) == [later.id] and store.record(first.id)["state"] == "done"
    store.close()


def test_a_command_is_all_of_it_or_nothing(path: Path) -> None:
    """Two requests with one key: the second cannot be, so the command and the first are not either."""
    store = Store(str(path))
    command = Command(Action.OFF, "a client", ACCEPTED, ("n1", "n2"), key="c")
    requests = [asked("off", A, names=("n1",), key="k"), asked("off", B, names=("n2",), key="k")]
    with pytest.raises(StoreError, match="UNIQUE"):
        store.add_all(requests, command)
    assert left(path) == [] and store.find_key("c") is None is store.find_key("k")
    requests[1].key = ""
    store.add_all(requests, command)
    found = store.command(command.id)
    assert found.command.names == ("n1", "n2") and [row["id"] for row in found.rows] == [each.id for each in requests]
    assert (command.id, [each.id for each in requests]) == (1, [1, 2])  # numbered apart
    with closing(killed(path)) as kept:
        live = kept.live()
        assert [(each.command, each.names, each.key) for each in live] == [
            (command.id, ("n1",), "k"), (command.id, ("n2",), ""),
        ]  # fmt: skip
        more = asked("on")
        kept.add_all([more])
        assert more.id == max(each.id for each in requests) + 1
    store.close()


def test_many_threads_write_and_note_at_once(path: Path) -> None:
    store = Store(str(path))
    dispatcher = threading.Lock()
    made: list[int] = []

    def client() -> None:
        for _ in range(25):
            requests = [asked("on"), asked("on")]
            with dispatcher:
                store.add_all(requests)
            with dispatcher:
                for request in requests:
                    store.note(end(request))
            store.flush()
            made.extend(request.id for request in requests)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == [*range(1, 401)] and not store.noted and left(path) == []
    store.close()


def test_what_is_too_old_is_forgotten_on_an_idle_machine_as_well(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which nobody writes to: a pulse has it looked for."""
    monkeypatch.setattr(storeupkeep, "IDLE", 0.05)
    store = Store(str(path))
    requests = [asked("on"), asked("on")]
    store.add_all(requests)
    store.note(end(requests[0]))
    store.close()
    store = Store(str(path), history_days=1)
    assert len(store.rows(10)) == 2
    store.probe(thoroughly=False)
    eventually(lambda: [row["id"] for row in store.rows(10)] == [2])
    store.close()


def test_a_half_of_a_character_is_written_as_none(path: Path) -> None:
    store = Store(str(path))
    odd, fine = asked("on", client="half \udc00"), asked("on", Outlet("a", "\udc00"))
    store.add_all([odd, fine])
    assert store.record(1)["client"] == "half ?" and store.record(2)["outlets"][0]["port"] == "\udc00"
    assert store.find_key("\udc00") is None
    store.close()


def test_in_memory_all_of_it_works_but_for_what_is_of_the_disk() -> None:
    store = Store(MEMORY)
    command = Command(Action.ON, "", ACCEPTED, ("n1",))
    request = asked("on", key="k")
    store.add_all([request], command)
    store.switched(request, A, State.ON, 5.0)
    store.note(end(request))
    store.flush()
    store.sync()
    store.probe(thoroughly=True)
    assert store.find_key("k") == ("request", 1) and store.command(1).rows[0]["ended"] == ACCEPTED + 1
    assert len(store.rows(10)) == 1 and store.last_told(A) == (State.ON, 5.0)
    store.close()


def test_other_programs_are_kept_out(path: Path, tmp_path: Path) -> None:
    """No third file lies beside the two that could be taken away, and none is left behind."""
    store = Store(str(path))
    store.add_all([asked("on")])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["store", "store-wal"]
    store.close()
    assert [each.name for each in tmp_path.iterdir()] == ["store"]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM request").fetchone() == (1,)
