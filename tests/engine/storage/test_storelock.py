# SPDX-License-Identifier: MIT
"""The lock of a store: one opening of the file has it, beside SQLite's own locks on the same file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storefiles, storelock
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import StoreError
from tests.support.process import ROOT


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    """Return two openings of one file."""
    path = tmp_path / "store.db"
    found = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640) for _ in range(2)]
    yield found
    for descriptor in found:
        os.close(descriptor)


def test_one_has_it_until_it_is_closed(files: list[int]) -> None:
    first, second = files
    assert storelock.taken(first) and storelock.taken(first) and not storelock.taken(second)
    copy = os.dup(first)
    os.close(first)
    assert not storelock.taken(second)
    os.close(copy)
    assert storelock.taken(second)
    files.remove(first)


def test_who_only_reads_can_see_whether_another_has_it(tmp_path: Path, files: list[int]) -> None:
    with (tmp_path / "store.db").open("rb") as reader:
        assert storelock.taken(reader.fileno(), shared=True) and not storelock.taken(files[0])
    assert storelock.taken(files[0])
    with (tmp_path / "store.db").open("rb") as reader:
        assert not storelock.taken(reader.fileno(), shared=True)


def test_to_close_another_opening_does_not_let_it_go(tmp_path: Path, files: list[int]) -> None:
    """As it would a POSIX lock, whenever anybody in the process reads the file."""
    assert storelock.taken(files[0])
    (tmp_path / "store.db").read_bytes()
    assert not storelock.taken(files[1])


def test_who_inherits_it_has_it(files: list[int]) -> None:
    """As a command between fork and exec."""
    assert storelock.taken(files[0])
    os.set_inheritable(files[0], True)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    os.close(files.pop(0))
    assert not storelock.taken(files[0])
    child.kill()
    child.wait()
    assert storelock.taken(files[0])


def test_where_nothing_can_be_locked_it_says_so(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError):
        storelock.taken(descriptor)
    os.close(descriptor)


def test_who_uses_the_database_is_known_by_sqlites_own_locks(tmp_path: Path, files: list[int]) -> None:
    """Which end with the process, whatever it has left behind."""
    assert storelock.user(files[0]) is None
    using = (
        "import sys; from pdudaemon.engine.storage.store import Store\nStore(sys.argv[1]); print(flush=True); input()"
    )
    command = [sys.executable, "-c", using, tmp_path / "store.db"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "\n"
        assert storelock.user(files[0]) == other.pid and not storelock.taken(files[0])
        with pytest.raises(StoreError, match=rf"^the store is in use by another pdudaemon \(pid {other.pid}\): "):
            Store(str(tmp_path / "store.db"))
        other.kill()
    assert storelock.user(files[0]) is None and storelock.taken(files[0])


def test_sqlite_has_no_part_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over NFS both are locks of one kind at one server, where another process's would be refused."""
    monkeypatch.setattr(storefiles, "LEFT", 0.1)
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (x)")
    locking = "import os, sys, time; from pdudaemon.engine.storage import storefiles, storelock\n"
    locking += "print(storelock.taken(os.open(sys.argv[1], os.O_RDWR)), flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", locking, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "True\n"
    try:
        with closing(sqlite3.connect(f"file:{path}?vfs=unix-excl", uri=True, timeout=0)) as database:
            database.execute("INSERT INTO t VALUES (1)")
            database.commit()
        with pytest.raises(StoreError, match="in use by another pdudaemon"):
            Store(str(path))
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    Store(str(path)).close()
