# SPDX-License-Identifier: MIT
"""What is taken for a store, what is found wrong with one, and what is on the disk before anything is replaced."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storecheck, storesalvage, storeschema
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
