# SPDX-License-Identifier: MIT
"""The files of a store: how they are opened, locked and copied, and what is full if they cannot be written."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pdudaemon.engine.storage import storelock
from pdudaemon.errors import DeviceTimeout, StoreError, StoreFull
from pdudaemon.transports.deadline import Deadline

log = logging.getLogger("pdud.store")

MEMORY = ":memory:"
TRIAL = 256 * 1024  # bytes for which a file system that is not full has room
LINGER = 1.0  # seconds that a daemon which is told to end, or is killed, may take to be gone
LEFT = 30.0  # seconds for which its lock may be held though no process uses the store

_LOG_HEADER = 32  # bytes, with a salt: https://sqlite.org/fileformat2.html#walformat
_COPIES = 20

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def connected(path: str) -> sqlite3.Connection:
    """Return a connection to a store; those of one process share what each would otherwise lock. Raises: sqlite3.Error.

    ``unix-excl`` keeps other processes out, and the index of the log in memory instead of a third file, which somebody
    could take away. Whoever has a connection sees to it that one thread at a time uses it.
    """
    name = path if path == MEMORY else f"file://{quote(os.fsencode(os.path.abspath(path)))}?vfs=unix-excl"
    database = sqlite3.connect(name, isolation_level=None, check_same_thread=False, uri=path != MEMORY)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA busy_timeout=60000")  # for the disk: whoever is ahead is a thread of ours
    return database


def locked(path: str) -> int:
    """Open the file and take the lock that says which daemon replays it.

    It is held on a descriptor of its own until the connection has gone: closing one earlier would drop the POSIX locks
    that SQLite holds on the same file. A daemon that was killed as it started a command leaves the lock to that for the
    time between fork and exec, which on a busy machine may be seconds; one that has just been started has the lock, and
    looks at the store before it uses it. So a lock is waited for as long as no other process uses the store.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreError(f"the store cannot be opened: {why(path, error)}: {path}") from None
    patience = Deadline(LEFT)
    linger = patience.within(LINGER)
    told = False
    while True:
        try:
            if storelock.taken(descriptor):
                return descriptor
            user = storelock.user(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"the store cannot be locked: {error.strerror}: {path}") from None
        with suppress(DeviceTimeout):
            if user is None and not told and time.monotonic() > linger.when:
                told = True
                log.warning("%s: locked by a process that does not use it, and is about to end or to start", path)
            (patience if user is None else linger).pause(0.01)
            continue
        os.close(descriptor)
        raise StoreError(f"the store is in use by another pdudaemon{f' (pid {user})' if user else ''}: {path}")


def copied(path: str, folder: str) -> str:
    """Copy a store, which a daemon may be writing to, as it is at one moment; return the path of the copy.

    Needs no lock: what is appended to the log meanwhile does no harm, since the last whole commit counts. But file and
    log are not of one moment if the log was begun anew in between, which its header tells: they are copied again then.
    Raises: StoreError.
    """
    try:
        for number in range(_COPIES):
            copy = os.path.join(folder, str(number))
            before = _log_header(path)
            shutil.copyfile(path, copy)
            if before is not None:
                with suppress(FileNotFoundError):  # gone meanwhile
                    shutil.copyfile(f"{path}-wal", f"{copy}-wal")
            if _log_header(path) == before:
                return copy
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    raise StoreError(f"{path}: changes too fast to be read")


def _log_header(path: str) -> bytes | None:
    """Return what is another whenever the log is begun anew; None if there is no log."""
    try:
        with open(f"{path}-wal", "rb") as log:
            return log.read(_LOG_HEADER)
    except FileNotFoundError:
        return None


def sync_folder(path: str) -> None:
    """Make the names of the store's files themselves survive a power cut."""
    folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def unused(name: str) -> str:
    """Return a name that says when, and that no file has."""
    for number in itertools.count(1):
        found = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{number}"
        if not any(os.path.lexists(found + suffix) for suffix in ("", "-wal", "-shm")):
            break
    return found


def store_error(path: str, error: sqlite3.Error | OSError) -> StoreError:
    """Return an error of SQLite or of the machine as one of the store."""
    full, text = _diagnosed(path, error)
    return (StoreFull if full else StoreError)(f"{path}: {text}")


def why(path: str, error: Exception) -> str:
    """Return why a store cannot be opened or written; what is full, if that is why, which SQLite does not tell."""
    return _diagnosed(path, error)[1]


def _diagnosed(path: str, error: Exception) -> tuple[bool, str]:
    """Return whether an error is that something is full, and what it is."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, OSError):
        suspect = error.errno in _FULL
    else:
        kinds = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        suspect = getattr(error, "sqlite_errorcode", 0) & 0xFF in kinds
    folder = Path(path).absolute().parent
    cause = _cause(folder) if suspect else ""
    if not cause:
        return False, text
    room = os.statvfs(folder)
    while not os.path.ismount(folder):
        folder = folder.parent
    free = f"{room.f_bavail * room.f_frsize} bytes and {room.f_favail} files are free on {folder}"
    full = cause in [os.strerror(number) for number in _FULL]
    return full, f"{cause}: {free}" if text == cause else f"{cause}: {free} ({text})"


def _cause(folder: Path) -> str:
    """Return why a folder takes no more, empty if it does."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _FULL else ""
    try:
        left = TRIAL
        while left > 0:
            left -= os.write(descriptor, bytes(left))
        return ""
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    finally:
        os.close(descriptor)
