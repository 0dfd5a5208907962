# SPDX-License-Identifier: MIT
"""A database that is damaged: rows that can be read are there, and what was in the others is named."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storesalvage
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import NoSuchRequest
from pdudaemon.power import Action, Command
from tests.support.stores import ACCEPTED, asked, closed, kept, ports, said, spoil


@pytest.fixture(name="closed")
def _closed(tmp_path: Path) -> Path:
    return closed(tmp_path)


@pytest.mark.parametrize("page", range(1, 12))
def test_a_damaged_page_of_the_database(closed: Path, page: int, caplog: pytest.LogCaptureFixture) -> None:
    """The rows of the other pages are there, and those of this one are named."""
    with closed.open("r+b") as file:
        file.seek((page - 1) * 4096 + (100 if page == 1 else 0))
        file.write(b"\xa5" * 1000)
    found, text = ports(closed), said(caplog)
    lost = {*range(400)} - {*found}
    assert "the store is damaged" in text and len(lost) < 60 and len(kept(closed)) == 1
    for port in sorted(lost)[:3]:
        assert f"pdu port {port}" in text or " more" in text
    with closing(sqlite3.connect(closed)) as whole:
        assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("offset", [0, 15, 16, 17, 18, 19, 20, 21, 28, 31, 44, 47, 56, 59])
def test_a_bad_byte_in_the_header_of_the_database(closed: Path, offset: int) -> None:
    spoil(closed, offset)
    assert ports(closed) == [*range(400)]


@pytest.mark.parametrize("size", [0, 1, 99, 512, 4096, 4097, 20000])
def test_a_database_that_was_cut(closed: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    os.truncate(closed, size)
    found, text = ports(closed), said(caplog)
    assert len(found) < 400
    assert size == 0 or ("the store is damaged" in text and kept(closed))
    assert ports(closed) == found


def test_commands_and_keys_are_saved_as_well(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(str(path))
    command = Command(Action.ON, "", ACCEPTED, ("n1",), key="c")
    store.add_all([asked("on", key=f"k{number}", names=("n1",)) for number in range(300)], command)
    store.close()
    with path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xa5" * 1000)
    store = Store(str(path))
    found = store.command(command.id)
    assert found.command.key == "c" and len(found.rows) > 200 and kept(path)
    for row in found.rows:
        assert store.find_key(row["key"]) == ("request", row["id"])
    store.close()


def test_a_table_of_which_neither_end_can_be_read_is_read_from_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(str(path))
    for number in range(300):
        store.add_all(
            [asked("on", names=("n1",))], Command(Action.ON, "", ACCEPTED, ("n1",), key=f"key{number:03}" * 20)
        )
    store.close()
    with closing(sqlite3.connect(path)) as whole:
        size, count = (whole.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_size", "page_count"))
    image = path.read_bytes()
    for end in (b"key000key000", b"key299key299"):
        pages = [page for page in range(count) if image[page * size] == 13 and end in image[page * size :][:size]]
        for page in pages:
            spoil(path, page * size, *range(page * size + 3, page * size + 30))
    store = Store(str(path))
    found = [number for number in range(1, 301) if _has_command(store, number)]
    store.close()
    assert kept(path) and len(found) > 200 and not {1, 300} & {*found}


def _has_command(store: Store, number: int) -> bool:
    try:
        return store.command(number).command.key != ""
    except NoSuchRequest:
        return False


def test_a_look_through_all_of_it_is_bounded_and_says_so(closed: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(closed)) as database:
        with pytest.raises(TimeoutError):
            storesalvage.quick_check(database, -1.0)
        assert storesalvage.quick_check(database, 60.0) == ""
        assert database.execute("SELECT count(*) FROM request").fetchone() == (400,)
