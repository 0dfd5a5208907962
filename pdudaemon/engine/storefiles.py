# SPDX-License-Identifier: MIT
"""The files of a store that is open: whether they are still where they were, how they are written anew, what is full.

SQLite does not notice that a file of its own was removed or replaced: it goes on with what it has open, which nobody
finds at the next start.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

TRIAL = 256 * 1024  # bytes for which a file system that is not full has room

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Identity(NamedTuple):
    """What a file is, whatever it is called, and how long it is at least."""

    device: int
    inode: int
    size: int


def present(path: str) -> dict[str, Identity]:
    """Return the files of a store, by name. Raises: OSError."""
    found = {}
    for name in (path, f"{path}-wal"):
        seen = os.stat(name)
        # The log is written over, and may be cut; the database only grows.
        found[name] = Identity(seen.st_dev, seen.st_ino, seen.st_size if name == path else 0)
    return found


def gone(files: Mapping[str, Identity]) -> str:
    """Return what has become of the files, empty if they are where they were."""
    for name, identity in files.items():
        try:
            seen = os.stat(name)
        except OSError as error:
            return f"{name} was removed ({error.strerror})"
        if (seen.st_dev, seen.st_ino) != identity[:2]:
            return f"{name} was replaced"
        if seen.st_size < identity.size:
            return f"{name} was cut short"
    return ""


def copied(database: sqlite3.Connection, path: str) -> Path:
    """Write all that a connection has into a new file beside a store. Raises: OSError, sqlite3.Error."""
    new = Path(f"{path}.anew")
    new.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    with closing(sqlite3.connect(new)) as target:
        database.backup(target)
        found = str(target.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    return new


def cleared(path: str, files: Mapping[str, Identity]) -> str:
    """Give what has come to the place of a store another name; return that. Raises: OSError."""
    aside = ""
    for name in (path, f"{path}-wal", f"{path}-shm"):
        try:
            seen = os.stat(name)
        except FileNotFoundError:
            continue
        if (seen.st_dev, seen.st_ino) == files.get(name, Identity(0, 0, 0))[:2]:
            continue
        if name == path:
            with open(name, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another daemon's
        aside = aside or unused(f"{path}.replaced")
        os.rename(name, aside + name.removeprefix(path))
    return aside


def unused(name: str) -> str:
    """Return a name that says when, and that no file has."""
    for number in itertools.count(1):
        found = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{number}"
        if not any(os.path.lexists(found + suffix) for suffix in ("", "-wal", "-shm")):
            break
    return found


def why(path: str, error: Exception) -> str:
    """Return why a store cannot be opened or written; what is full, if that is why, which SQLite does not tell."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, OSError):
        suspect = error.errno in _FULL
    else:
        kinds = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        suspect = getattr(error, "sqlite_errorcode", 0) & 0xFF in kinds
    folder = Path(path).absolute().parent
    cause = _cause(folder) if suspect else ""
    if not cause:
        return text
    room = os.statvfs(folder)
    while not os.path.ismount(folder):
        folder = folder.parent
    free = f"{room.f_bavail * room.f_frsize} bytes and {room.f_favail} files are free on {folder}"
    return f"{cause}: {free}" if text == cause else f"{cause}: {free} ({text})"


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
