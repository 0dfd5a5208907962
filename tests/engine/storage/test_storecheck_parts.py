# SPDX-License-Identifier: MIT
"""What is taken for a store, what is found wrong with one, and what is on the disk before anything is replaced."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storecheck, storefiles, storesalvage, storeschema
from pdudaemon.engine.storage.store import upsert, values
from pdudaemon.power import Outlet
from tests.support.stores import asked, kept, said, spoil


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store of 120 reboots, which nobody has open."""
    path = tmp_path / "store"
    path.write_bytes(storeschema.fresh())
    with closing(sqlite3.connect(path)) as database:
        for number in range(1, 121):
            one = asked("reboot", Outlet("a", str(number)))
            database.execute(upsert(1), values(one, one, number, None))
        database.commit()
    return path


def pages(path: Path) -> list[int]:
    """Return where the pages with requests begin."""
    image = path.read_bytes()
    return [at for at in range(4096, len(image), 4096) if image[at] == 13 and b'[["a", "' in image[at:][:4096]]


def test_what_is_whole_stays_the_file_that_it_is(path: Path) -> None:
    before = path.stat()
    assert storecheck.made_whole(str(path)) is False
    assert (path.stat().st_ino, kept(path)) == (before.st_ino, [])


@pytest.mark.parametrize("less", range(5))
def test_a_text_is_no_store_also_where_a_character_is_cut_through(tmp_path: Path, less: int) -> None:
    path = tmp_path / "store"
    for text in ("x" * (4092 + less) + "\N{PILE OF POO}" * 9, "\N{PILE OF POO}"):
        path.write_text(text)
        assert storecheck.made_whole(str(path)) is False and path.read_text() == text


@pytest.mark.parametrize("head", [b"\0" * 600, b"x" * 4080 + b"\0" + b"x" * 4000, b"x" * 4000 + b"\xff" + b"x" * 200])
def test_what_is_no_text_may_have_been_a_store(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "store"
    path.write_bytes(head)
    assert storecheck.made_whole(str(path)) is True
    (saved,) = kept(path)
    assert saved.read_bytes() == head


@pytest.mark.parametrize("offset", [*range(16, 24), *range(44, 48), *range(56, 60), 60])
def test_a_header_that_sqlite_bears_but_not_for_long_is_damage(path: Path, offset: int) -> None:
    spoil(path, offset)
    assert storecheck.made_whole(str(path)) is True
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM request").fetchone() == (120,)


@pytest.mark.parametrize("version", [0, 1, 4, 1001, 1 << 30])
def test_a_version_that_is_not_that_of_the_tables_is_damage(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version={version}")
    assert storecheck.made_whole(str(path)) is True
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM request").fetchone() == (120,)
        assert database.execute("PRAGMA user_version").fetchone() == (5,)
    assert storecheck.made_whole(str(path)) is False


@pytest.mark.parametrize("version", [6, 1000])
def test_a_version_that_there_may_be_one_day_is_that_of_a_newer_release(path: Path, version: int) -> None:
    """Which is told when it is used."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version={version}")
    assert storecheck.made_whole(str(path)) is False


def test_which_version_it_says_it_is_and_is_not_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=4")
    assert storecheck.made_whole(str(path)) is True
    assert "the store is damaged: it says that it is of version 4, and its tables are of 5; it is kept" in said(caplog)


def test_a_file_of_sqlite_with_other_tables_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE pdu_queue (id INTEGER PRIMARY KEY, hostname TEXT);")
    assert storecheck.made_whole(str(path)) is False


@pytest.mark.parametrize("size", [b"\0\0", b"\0\2", b"\x10\1", b"\xff\xff"])
def test_pages_of_a_size_that_there_is_not_are_of_ours(path: Path, size: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(16)
        file.write(size)
    assert storecheck.made_whole(str(path)) is True
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM request").fetchone() == (120,)


def test_one_whose_tables_are_none_of_ours_is_damaged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Though SQLite finds nothing wrong with it."""
    with closing(sqlite3.connect(path)) as database:
        wrong = "UPDATE sqlite_master SET sql = replace(sql, 'all_outlets', 'bll_outlets');"
        database.executescript(f"PRAGMA writable_schema=1; {wrong}")
    assert storecheck.made_whole(str(path)) is True
    assert f"{path}: the store is damaged: it does not know its tables any more; it is kept as " in said(caplog)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM request").fetchone() == (120,)


@pytest.mark.parametrize("size", range(1, 17))
def test_what_is_cut_to_its_first_bytes_was_a_store(tmp_path: Path, size: int) -> None:
    path = tmp_path / "store"
    path.write_bytes(storesalvage.MAGIC[:size])
    assert storecheck.made_whole(str(path)) is True
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM request").fetchone() == (0,)


def test_what_is_empty_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.touch()
    assert storecheck.made_whole(str(path)) is False


def test_one_that_takes_too_long_is_used_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storecheck, "LONGEST_CHECK", -1.0)
    monkeypatch.setattr(storesalvage, "_STEPS", 1)
    assert storecheck.made_whole(str(path)) is False
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "not all of it was looked at" in record.getMessage()


def test_what_is_kept_and_what_takes_its_place_are_on_the_disk_as_a_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And may be read by whom the store may be."""
    monkeypatch.setattr(shutil, "COPY_BUFSIZE", 3000)  # which is less than what a file keeps back
    path.chmod(0o600)
    (page, *_) = pages(path)
    spoil(path, *range(page, page + 30))
    synced: dict[int, int] = {}
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen = os.fstat(descriptor)
        synced[seen.st_ino] = seen.st_size
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    umask = os.umask(0)
    try:
        assert storecheck.made_whole(str(path)) is True
    finally:
        os.umask(umask)
    (saved,) = kept(path)
    for each, mode in ((saved, 0o640), (path, 0o600)):
        seen = each.stat()
        assert synced[seen.st_ino] == seen.st_size > 0 and seen.st_mode & 0o7777 == mode


@pytest.mark.parametrize("many", [1, 50, 51, 70])
def test_most_of_what_may_be_lost_is_named(path: Path, many: int, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"\0" * 5000 + b" ".join(b'["a", "%d"]' % number for number in range(100, 100 + many)))
    assert storecheck.made_whole(str(path)) is True
    named = ", ".join(f"a port {number}" for number in range(100, 100 + min(many, 50)))
    more = f" and {many - 50} more" if many > 50 else ""
    assert said(caplog).endswith(f"and THESE BOARDS MAY BE OFF: {named}{more}")


def test_which_rows_are_set_aside_and_whose_boards_may_be_off(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(storefiles.connected(str(path))) as database:
        database.execute("UPDATE request SET phase = ? WHERE id = 3", ("x" * 500,))
        database.execute("UPDATE request SET phase = 'x', ended = 5.0, outcome = 'done' WHERE id = 4")
        database.execute("UPDATE request SET client = CAST(x'41ff' AS TEXT) WHERE id = 5")
        storecheck.set_aside(database, "store")
        assert database.text_factory is str and not database.in_transaction
        aside = database.execute("SELECT reason, row FROM set_aside").fetchall()
        assert [json.loads(row)["id"] for _, row in aside] == [3, 4, 5]
        assert len(aside[0][0]) == 200 and aside[0][0].startswith("ValueError: 'xxx")
        assert aside[1][0] == "ValueError: 'x' is not a valid Phase"
        assert database.execute("SELECT count(*) FROM request").fetchone()[0] == 117
        storecheck.set_aside(database, "store")
    *each, lost = said(caplog).splitlines()
    assert each == [
        f"store: request {number} makes no sense, and is kept in the table set_aside: {reason}"
        for number, (reason, _) in zip((3, 4, 5), aside, strict=True)
    ]
    assert lost == "store: requests may be lost by that, and THESE BOARDS MAY BE OFF: a port 3, a port 5"


def test_rows_that_make_sense_are_not_written_to(path: Path) -> None:
    with closing(storefiles.connected(str(path))) as database:
        database.execute("PRAGMA query_only=1")
        storecheck.set_aside(database, "store")


@pytest.mark.parametrize("size", [17, 18, 99, 100, 101, 511, 512, 513, 4095, 4096, 4097])
def test_what_is_cut_is_damaged_however_much_of_it_is_left(path: Path, size: int) -> None:
    os.truncate(path, size)
    assert storecheck.made_whole(str(path)) is True
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM request").fetchone() == (0,)
