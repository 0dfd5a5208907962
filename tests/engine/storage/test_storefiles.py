# SPDX-License-Identifier: MIT
"""Why a store takes nothing is told as it is: that the disk is full is found out, which SQLite does not always say."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storefiles
from pdudaemon.errors import StoreError, StoreFull
from tests.support.process import descriptors, full_disk


def of_sqlite(code: int, text: str = "disk I/O error") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (of_sqlite(sqlite3.SQLITE_IOERR), "disk I/O error"),
        (of_sqlite(sqlite3.SQLITE_CANTOPEN, "unable to open database file"), "unable to open database file"),
        (of_sqlite(sqlite3.SQLITE_BUSY, "database is locked"), "database is locked"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("odd"), "odd"),
    ],
)
def test_where_there_is_room_it_is_told_as_it_comes(path: str, error: sqlite3.Error | OSError, text: str) -> None:
    before = descriptors()
    found = storefiles.store_error(path, error)
    assert type(found) is StoreError and str(found) == f"{path}: {text}" and storefiles.why(path, error) == text
    assert descriptors() <= before


def refused(number: int) -> Callable[..., int]:
    def write(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (of_sqlite(sqlite3.SQLITE_IOERR), " (disk I/O error)"),
        (of_sqlite(sqlite3.SQLITE_IOERR | 3 << 8), " (disk I/O error)"),
        (of_sqlite(sqlite3.SQLITE_FULL, "database or disk is full"), " (database or disk is full)"),
        (OSError(errno.ENOSPC, "No space left on device"), ""),
    ],
)
def test_where_there_is_none_it_is_told_how_much(
    path: str, error: sqlite3.Error | OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storefiles.os, "write", refused(errno.ENOSPC))
    before = descriptors()
    found = storefiles.store_error(path, error)
    assert type(found) is StoreFull and descriptors() <= before
    text = str(found).removeprefix(f"{path}: No space left on device: ")
    amount, _, rest = text.partition(" bytes and ")
    files, _, rest = rest.partition(" files are free on ")
    assert amount.isdigit() and files.isdigit()
    folder = rest.removesuffix(said) if said else rest
    assert os.path.ismount(folder) and path.startswith(folder)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_a_disk_that_fails_otherwise_is_not_full(path: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storefiles.os, "write", refused(number))
    found = storefiles.store_error(path, of_sqlite(sqlite3.SQLITE_IOERR))
    assert type(found) is StoreError and str(found).startswith(f"{path}: {os.strerror(number)}: ")
    assert str(found).endswith("(disk I/O error)")


def test_what_is_not_of_the_disk_is_not_looked_for_there(path: str) -> None:
    with full_disk():
        found = storefiles.store_error(path, of_sqlite(sqlite3.SQLITE_BUSY, "database is locked"))
        assert type(found) is StoreError and str(found) == f"{path}: database is locked"
        assert "File too large" in storefiles.why(path, of_sqlite(sqlite3.SQLITE_IOERR))


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_where_no_file_can_be_made(path: str, number: int, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storefiles.os, "open", refused(number))
    found = storefiles.store_error(path, of_sqlite(sqlite3.SQLITE_CANTOPEN, "unable to open database file"))
    assert (type(found) is StoreFull) == full and (os.strerror(number) in str(found)) == full


def test_a_trial_writes_some_and_leaves_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system may take less at a time."""
    written: list[int] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        written.append(real(descriptor, data[: len(data) // 2 + 1]))
        return written[-1]

    monkeypatch.setattr(storefiles.os, "write", write)
    storefiles.store_error(path, of_sqlite(sqlite3.SQLITE_IOERR))
    assert sum(written) == storefiles.TRIAL and len(written) > 2
    assert os.listdir(Path(path).parent) == []
