# SPDX-License-Identifier: MIT
"""How a store is locked and copied: who is waited for and for how long, and of what moment a copy is."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storefiles, storelock
from pdudaemon.errors import StoreError
from tests.support.process import descriptors


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(storefiles, "LEFT", 0.6)
    monkeypatch.setattr(storefiles, "LINGER", 0.1)
    return str(tmp_path / "store")


@contextmanager
def held(path: str) -> Iterator[None]:
    """Have the lock, through another opening of the file."""
    other = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    assert storelock.taken(other)
    yield
    os.close(other)


@contextmanager
def used(path: str) -> Iterator[int]:
    """Have another process use the database, and yield its pid."""
    begun, told = os.pipe()
    pid = os.fork()
    if not pid:
        fcntl.fcntl(os.open(path, os.O_RDWR), fcntl.F_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0x40000002, 510, 0))
        os.write(told, b".")
        time.sleep(60)
        os._exit(0)
    os.read(begun, 1)
    try:
        yield pid
    finally:
        os.close(begun)
        os.close(told)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_lock_that_nobody_uses_is_waited_for_and_told_of_once(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with held(path):
        before, begun = descriptors(), time.monotonic()
        with pytest.raises(StoreError, match=f"^the store is in use by another pdudaemon: {path}$"):
            storefiles.locked(path)
        assert time.monotonic() - begun >= 0.6 and descriptors() <= before
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "locked by a process that does not use it" in record.getMessage()
    caplog.clear()
    os.close(storefiles.locked(path))
    assert not caplog.records


def test_a_lock_that_is_let_go_in_time_is_had_without_a_word(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storefiles, "LEFT", 60.0)
    monkeypatch.setattr(storefiles, "LINGER", 30.0)
    other = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    assert storelock.taken(other)
    looks = []

    class Letting(storefiles.Deadline):
        def pause(self, seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                os.close(other)
            super().pause(seconds)

    monkeypatch.setattr(storefiles, "Deadline", Letting)
    os.close(storefiles.locked(path))
    assert len(looks) == 3 and not caplog.records


def test_who_uses_the_store_is_waited_for_a_moment_only(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storefiles, "LEFT", 3600.0)
    with held(path), used(path) as pid, pytest.raises(StoreError, match=rf"another pdudaemon \(pid {pid}\): {path}$"):
        storefiles.locked(path)
    assert not caplog.records


def test_who_uses_the_store_may_be_about_to_end(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storefiles, "LEFT", 0.0)
    monkeypatch.setattr(storefiles, "LINGER", 3600.0)
    with held(path), pytest.raises(StoreError):
        storefiles.locked(path)


def test_what_cannot_be_opened_or_locked_says_so(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(path).write_bytes(b"")
    before = descriptors()
    with pytest.raises(StoreError, match=f"^the store cannot be opened: File exists: {path}/below$"):
        storefiles.locked(f"{path}/below")

    def refuse(*_: object) -> None:
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(StoreError, match=f"^the store cannot be locked: No locks available: {path}$"):
        storefiles.locked(path)
    assert descriptors() <= before


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "source", isolation_level=None)) as database:
        database.execute("CREATE TABLE t (n)")
        yield database


def numbers(path: str) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [number for (number,) in database.execute("SELECT n FROM t ORDER BY n")]


def test_a_copy_is_of_the_database_and_of_its_log(tmp_path: Path, database: sqlite3.Connection) -> None:
    (tmp_path / "copies").mkdir()
    database.execute("INSERT INTO t VALUES (1)")
    source, folder = str(tmp_path / "source"), str(tmp_path / "copies")
    assert numbers(storefiles.copied(source, folder)) == [1]
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("INSERT INTO t VALUES (2)")
    assert numbers(storefiles.copied(source, folder)) == [1, 2]


@pytest.mark.parametrize("times", [1, 3, 1000])
def test_file_and_log_of_different_moments_are_copied_again(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The log is taken over into the database, and begun anew, between the copies of the two."""
    (tmp_path / "copies").mkdir()
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("INSERT INTO t VALUES (0)")
    source, copies, real = str(tmp_path / "source"), [], shutil.copyfile

    def copyfile(path: str, copy: str) -> None:
        real(path, copy)
        if path == source and len(copies) < times:
            copies.append(copy)
            database.execute("INSERT INTO t VALUES (?)", (len(copies),))
            database.execute("PRAGMA wal_checkpoint(RESTART)")
            database.execute("INSERT INTO t VALUES (?)", (1000 + len(copies),))

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    if times > 100:
        with pytest.raises(StoreError, match=f"^{source}: changes too fast to be read$"):
            storefiles.copied(source, str(tmp_path / "copies"))
        return
    copy = storefiles.copied(source, str(tmp_path / "copies"))
    assert len(copies) == times and copy not in copies
    every = range(1, times + 1)
    assert numbers(copy) == [0, *every, *(1000 + number for number in every)]


def test_what_cannot_be_copied_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"^{tmp_path}/none: No such file or directory$"):
        storefiles.copied(str(tmp_path / "none"), str(tmp_path))


def test_the_names_of_the_files_are_on_the_disk(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = [], os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, os.get_inheritable(descriptor)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    before = descriptors()
    storefiles.sync_folder(path)
    assert synced == [(Path(path).parent.stat().st_ino, False)] and descriptors() <= before


def test_a_connection_to_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(storefiles.connected(storefiles.MEMORY)) as one, closing(storefiles.connected("odd ?#%41")) as other:
        for each in (one, other):
            each.execute("CREATE TABLE t (n)")
    assert os.listdir(tmp_path) == ["odd ?#%41"]


def test_a_connection_is_for_any_thread_and_waits_for_the_disk(tmp_path: Path) -> None:
    with closing(storefiles.connected(str(tmp_path / "store"))) as one:
        found: list[sqlite3.Row] = []
        thread = threading.Thread(target=lambda: found.append(one.execute("PRAGMA busy_timeout").fetchone()))
        thread.start()
        thread.join()
        assert found[0]["timeout"] == 60_000
        one.execute("CREATE TABLE t (n)")
        assert not one.in_transaction


def test_a_folder_for_a_store_is_made_for_its_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "var" / "lib" / "store"
    umask = os.umask(0)
    for _ in range(2):
        os.close(storefiles.locked(str(path)))
    os.umask(umask)
    assert path.parent.stat().st_mode & 0o7777 == 0o750


def test_a_store_may_be_read_by_its_group_and_written_by_its_owner(path: str) -> None:
    umask = os.umask(0)
    os.close(storefiles.locked(path))
    os.umask(umask)
    assert os.stat(path).st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_name_that_no_file_has(path: str, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "today")
    assert storefiles.unused(path) == f"{path}-today-1"
    for number in (1, 2):
        os.symlink("nowhere", f"{path}-today-{number}{suffix}")
    assert storefiles.unused(path) == f"{path}-today-3"
