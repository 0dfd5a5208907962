# SPDX-License-Identifier: MIT
"""What people read of the store: all that is committed, whatever else goes on; and rows that make no sense."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storerecords
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.storage.storerows import record_of
from pdudaemon.errors import NoSuchRequest, StoreError
from pdudaemon.power import Action, Command, Outlet
from tests.support.stores import ACCEPTED, asked, end


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_each_commit_is_seen_at_once_also_while_somebody_writes(path: Path) -> None:
    store = Store(str(path))
    for number in range(1, 20):
        store.add_all([asked("on", key=str(number))])
        assert store.record(number)["state"] == "accepted" and store.find_key(str(number)) == ("request", number)
    with store._lock:  # as by whoever writes
        assert store.record(3)["id"] == 3 and len(store.rows(5)) == 5 and store.find_key("nobody's") is None
    store.close()


def test_the_newest_first_page_by_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(path))
    store.add_all([asked("on") for _ in range(30)])

    def numbers(most: int, before: int | None = None) -> list[int]:
        return [row["id"] for row in store.rows(most, before)]

    assert numbers(3) == [30, 29, 28] and numbers(3, 28) == [27, 26, 25] and numbers(5, 3) == [2, 1]
    assert numbers(0) == numbers(-1) == numbers(5, 1) == []
    monkeypatch.setattr(storerecords, "MOST_ROWS", 7)
    assert len(numbers(10**30)) == 7
    store.close()


def test_what_there_is_not(path: Path) -> None:
    store = Store(str(path))
    for number in (0, 1, -5, 10**30):
        with pytest.raises(NoSuchRequest, match="there is no request"):
            store.record(number)
        with pytest.raises(NoSuchRequest, match="there is no command"):
            store.command(number)
    store.close()
    with pytest.raises(StoreError):
        store.record(1)


def test_rows_of_long_ago_that_make_no_sense_are_shown_as_far_as_they_do(path: Path) -> None:
    store = Store(str(path))
    command = Command(Action.ON, "", ACCEPTED, ("n1",))
    store.add_all([end(asked("on")) for _ in range(1100)])
    store.add_all([end(asked("on"))], command)
    store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE request SET all_outlets = '[[', client = CAST(x'ff41' AS TEXT) WHERE id = 5")
        database.execute("UPDATE command SET names = '{'")
        database.commit()
    store = Store(str(path))
    record = store.record(5)
    assert record["outlets"] == [] and "makes no sense" in record["reason"] and record["state"] == "done"
    assert record["client"] == "\ufffdA"
    assert len([record_of(row) for row in store.rows(2000)]) == 1101
    with pytest.raises(StoreError, match="command 1 makes no sense"):
        store.command(command.id)
    store.close()


def test_a_store_in_memory_is_read_as_well_and_a_port_as_it_was_spelled() -> None:
    with closing(Store(":memory:")) as store:
        command = Command(Action.ON, "", ACCEPTED, ("n1",), key="c")
        store.add_all([asked("on", Outlet("a", "7", 7), names=("n1",)), asked("on", Outlet("a", "8"))], command)
        assert store.record(1)["id"] == 1 and store.find_key("c") == ("command", 1)
        found = store.command(1)
        assert (found.command.names, [row["id"] for row in found.rows]) == (("n1",), [1, 2])
        assert [store.request(number).target.outlets[0].given for number in (1, 2)] == [7, None]


def test_what_sqlite_does_not_read_is_told_as_an_error_of_the_store() -> None:
    records = storerecords.Records("/a/store")
    records.use(sqlite3.connect(":memory:"))
    with pytest.raises(StoreError, match=r"^/a/store: no such table: request$"):
        records.record(1)
    records.use(None)
    with pytest.raises(StoreError, match=r"^/a/store: not open$"):
        records.record(1)


def test_a_request_as_it_is_on_record(path: Path) -> None:
    store = Store(str(path))
    store.add_all([asked("off", key="k")])
    found = store.request(1)
    assert (found.id, found.action, found.key) == (1, Action.OFF, "k")
    with pytest.raises(NoSuchRequest, match="there is no request 2"):
        store.request(2)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE request SET all_outlets = '[['")
        database.commit()
    with pytest.raises(StoreError, match="request 1 makes no sense"):
        store.request(1)
    store.close()


def test_who_reads_writes_nothing_and_leaves_no_connection_open() -> None:
    first, second = (storerecords.read_only(sqlite3.connect(":memory:")) for _ in range(2))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        first.execute("CREATE TABLE request (id)")
    records = storerecords.Records("/a/store")
    records.use(first)
    records.use(second)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")
    assert second.execute("SELECT CAST(x'41ff' AS TEXT)").fetchone() == ("A\ufffd",)
    records.use(None)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        second.execute("SELECT 1")
