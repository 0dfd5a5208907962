# SPDX-License-Identifier: MIT
"""`OpenStore`: the files of a store as the running daemon has them open, and what sees to it that it stays so.

There is a connection for whoever writes, one for each who reads beside that, and those of the upkeep. Before the files
are opened they are looked at as a whole: see `storecheck`. If they are removed or replaced afterwards, which SQLite
does not notice, or if the disk has not taken what it was given, all of it is written anew: it would go on with what it
has open, and nobody would find that at the next start.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pdudaemon.engine.storage import storecheck, storefiles, storelock, storeschema, storesearch
from pdudaemon.engine.storage.storerecords import Records, read_only
from pdudaemon.engine.storage.storesync import DiskSync
from pdudaemon.engine.storage.storeupkeep import Upkeep
from pdudaemon.errors import StoreError

log = logging.getLogger("pdud.store")

CACHE = "cache_size=-512"  # in KiB, of each connection
ANEW_EVERY = 1.0  # seconds between two tries to write them anew
CLOSE_GRACE = 10.0  # seconds for the thread of the upkeep to end, which may wait for the disk


class Identity(NamedTuple):
    """What a file is, whatever it is called, and how long it is at least."""

    device: int
    inode: int
    size: int


class OpenStore:
    """``database`` is the connection of whoever writes, ``lock`` is held by who uses it, and for all that follows but
    `sync`. ``looked`` is when it was last seen that the files are there, in monotonic seconds, and ``trouble`` what was
    found then that has not been put right. ``forget`` is as in `Upkeep`.
    """

    database: sqlite3.Connection

    def __init__(self, path: str, lock: threading.Lock, forget: Callable[[], int]) -> None:
        """Open a store, which is made if there is none. Raises: StoreError."""
        self.path = path
        self.looked = 0.0
        self.trouble = ""
        self.disk = DiskSync()
        self.records = Records(path)
        self.searches = storesearch.Searches(path)
        self.upkeep = Upkeep(path, lock, self.stay, forget)
        self._lock = lock
        self._wal: int | None = None
        self._files: Mapping[str, Identity] = {}  # as they were opened
        self._shut = False  # between two files: see `stay`
        self._refused_anew = float("-inf")  # when they could not be written anew, in monotonic seconds, and why
        self._not_anew: StoreError
        self._file = None if path == storefiles.MEMORY else storefiles.locked(path)
        try:
            if self._file is not None and storecheck.made_whole(path):
                os.close(self._file)
                self._file = storefiles.locked(path)
            self._open()
            storecheck.set_aside(self.database, path)
        except (sqlite3.Error, OSError, StoreError) as error:
            self.abandon()
            raise error if isinstance(error, StoreError) else storefiles.store_error(path, error) from None

    def abandon(self) -> None:
        """Let another daemon have a store that this one cannot use."""
        if self._file is not None:
            os.close(self._file)

    def _open(self) -> None:
        self.database = storefiles.connected(self.path)
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0", CACHE):
            self.database.execute(f"PRAGMA {setting}")
        storeschema.prepare(self.database, self.path)
        if self._file is None:
            self.records.share(self.database, self._lock)
            self.searches.share(self.database, self._lock)
            return
        descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        if self._wal is None:
            self._wal = descriptor
        else:  # in one step, since somebody may be about to `sync`
            os.dup2(descriptor, self._wal, inheritable=False)
            os.close(descriptor)
        storefiles.sync_folder(self.path)
        self._files = _present(self.path)
        others = [storefiles.connected(self.path) for _ in range(4)]
        for each in others:
            each.execute(f"PRAGMA {CACHE}")
        self.records.use(read_only(others[0]))
        self.searches.use(read_only(others[1]))
        self.upkeep.use(*others[2:])

    def _shut_all(self) -> None:
        """Close the connections, the last of which takes the log over."""
        if self._file is not None:
            self.records.use(None)
            self.searches.use(None)
            self.upkeep.use()
        self.database.close()

    def error(self, error: sqlite3.Error | OSError) -> StoreError:
        """Return an error of SQLite or of the machine as one of the store."""
        return storefiles.store_error(self.path, error)

    def stay(self) -> None:
        """Write the files anew if they were removed or replaced, or if the disk has not taken what it was given.

        To look at them before each write took a fifth of a request. So one is acknowledged that a start would not find
        if the daemon is killed before the next look: at a write a quarter of a second later, at a pulse, or at the
        checkpoint one second after the last write.
        """
        self.looked = time.monotonic()
        if self._file is None:
            return
        trouble = _gone(self._files)
        if not trouble and (failed := self.disk.failed) is not None:
            trouble = f"{self.path}-wal was not put on the disk ({failed.strerror})"
            if self.looked < self._refused_anew + ANEW_EVERY:
                raise type(self._not_anew)(str(self._not_anew))
        if not trouble:
            return
        if trouble != self.trouble:
            log.critical("%s under the running daemon: the store is written anew", trouble)
        self.trouble = trouble
        try:
            if not self._shut:
                new = written_anew(self.database, self.path)
                aside = _cleared(self.path, self._files)
                new.replace(self.path)
                log.critical("%s: nothing is lost%s", self.path, aside and f"; what was there is kept as {aside}")
                self._shut = True
                self._shut_all()
                Path(f"{self.path}-wal").unlink(missing_ok=True)
            file = storefiles.locked(self.path)
            os.dup2(file, self._file, inheritable=False)
            os.close(file)
            self._open()
            self.disk.begin_anew()
            self._shut, self.trouble = False, ""
        except (sqlite3.Error, OSError) as error:
            reason = storefiles.store_error(self.path, error)
            self._refused_anew = self.looked
            why = str(reason).removeprefix(f"{self.path}: ")
            self._not_anew = type(reason)(f"{trouble}, and the store cannot be written anew: {why}")
            raise self._not_anew from None

    def sync(self) -> None:
        """Return when everything committed before the call would survive a power cut. All who wait share one."""
        if self._wal is not None:
            if self.disk.failed:
                with self._lock:
                    self.stay()
            try:
                self.disk.wait(self._wal)
            except OSError as error:
                raise self.error(error) from None

    def close(self, write_last: Callable[[], None]) -> None:
        """Close the files, when the last has been written, and let the next daemon have them. Called once."""
        home = self.upkeep.close(CLOSE_GRACE)
        try:
            if not home:
                raise StoreError(f"{self.path}: not closed: the disk does not answer")
            with self._lock:
                try:
                    self.stay()
                except StoreError:
                    if not self.disk.failed:
                        raise
                    self.disk.begin_anew()  # what is written now outlives this process all the same
                try:
                    write_last()
                finally:
                    self._shut_all()
        except sqlite3.Error as error:
            raise self.error(error) from None
        finally:
            for descriptor in (self._wal, self._file):
                if descriptor is not None:
                    os.close(descriptor)


def _present(path: str) -> dict[str, Identity]:
    """Return the files of a store, by name. Raises: OSError."""
    found = {}
    for name in (path, f"{path}-wal"):
        seen = os.stat(name)
        # The log is written over, and may be cut; the database only grows.
        found[name] = Identity(seen.st_dev, seen.st_ino, seen.st_size if name == path else 0)
    return found


def _gone(files: Mapping[str, Identity]) -> str:
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


def written_anew(database: sqlite3.Connection, path: str) -> Path:
    """Write all that a connection has into a new file beside a store. Raises: OSError, sqlite3.Error."""
    new = Path(f"{path}.anew")
    new.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    with closing(sqlite3.connect(new)) as target:
        database.backup(target)
        found = str(target.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise sqlite3.DatabaseError(" ".join(found.split()))
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    return new


def _cleared(path: str, files: Mapping[str, Identity]) -> str:
    """Give what has come to the place of a store another name; return that. Raises: OSError."""
    aside = ""
    for name in (path, f"{path}-wal", f"{path}-shm"):
        try:
            seen = os.stat(name)
        except FileNotFoundError:
            continue
        ours = files.get(name)
        if ours is not None and (seen.st_dev, seen.st_ino) == ours[:2]:
            continue
        if name == path:
            with open(name, "rb") as file:
                if not storelock.taken(file.fileno(), shared=True):
                    raise OSError(errno.EBUSY, "another daemon has opened what is there now", name)
        aside = aside or storefiles.unused(f"{path}.replaced")
        os.rename(name, aside + name.removeprefix(path))
    return aside
