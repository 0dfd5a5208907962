# SPDX-License-Identifier: MIT
"""The store: requests accepted and not yet ended, and what became of the rest.

SQLite in WAL mode with ``synchronous=NORMAL``: a commit is a write to the log, which outlives the death of the
process. To outlive a power cut the log must reach the disk: `sync` does that, and holds up only who asks. All that
there is to write at a time is one statement: whenever SQLite runs, the interpreter's lock is given away, and under load
it takes longer to get that back than the write takes.

The dispatcher notes, with its lock held, how far its requests have come (`note`), and writes that down without it
(`flush`). New requests are committed in the order in which they are numbered, with all that has been noted before.

What each outlet was last told to be is a table of its own, which history has no part in: a trigger keeps it in the
commit that says so of the request, and it is read once, at the start.

Methods may be called by any thread, but for those that say so, and raise StoreError. Before the file is opened it is
looked at as a whole: see `storecheck`. Log and history are kept short by a thread: see `storeupkeep`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pdudaemon.engine import storecheck, storefiles, storehistory, storerows, storeschema, storesearch, storestart
from pdudaemon.engine.storerecords import CommandRecord, Records, read_only
from pdudaemon.engine.storesync import DiskSync
from pdudaemon.engine.storeupkeep import Upkeep
from pdudaemon.errors import StoreError
from pdudaemon.power import Command, Outlet, Request, State

log = logging.getLogger("pdud.store")

MEMORY = storefiles.MEMORY
CHUNK = storerows.SIZES[-1]  # rows in one statement
CACHE = "cache_size=-512"  # in KiB, of each connection
ANEW_EVERY = 1.0  # seconds between two tries to write them anew
LOOK_EVERY = 0.25  # seconds between two looks at whether the files are still there
TIDY_EVERY = 600.0  # seconds after which what has become too old is forgotten on an idle machine
CLOSE_GRACE = 10.0  # seconds for the thread to end, which may wait for the disk
_BATCH = 100  # requests that are forgotten at once


class Store:
    """One SQLite file, held by one daemon at a time. A file of the existing daemon keeps its own table."""

    def __init__(self, path: str, history: int = 10000, history_days: int = 0) -> None:
        self.path = path
        self.history, self.history_days = history, history_days
        self._lock = threading.Lock()  # the connection, and all that follows but for what is noted
        self._noting = threading.Lock()
        self.noted: dict[int, storerows.Snapshot] = {}  # by number; what is not committed yet
        self._told: dict[Outlet, tuple[State, float]] = {}
        self._last = 0  # the highest number that was given to a request, and to a command
        self._last_command = 0
        self._wal: int | None = None
        self._files: Mapping[str, storefiles.Identity] = {}  # as they were opened
        self._looked = 0.0  # when it was last seen, in monotonic seconds, that they are there
        self._tidied_upto = 0  # the number of the last request by which there was nothing to tidy
        self._tidied = -TIDY_EVERY  # when what is too old was looked for without a write, in monotonic seconds
        self._shut = False  # between two files: see `_stay`
        self._refused_anew = float("-inf")  # when they could not be written anew, in monotonic seconds, and why
        self._not_anew = StoreError("")
        self._trouble = ""  # the last that was logged
        self._refused = False  # the last write
        self._sync = DiskSync()
        self._records = Records(path)
        self.searches = storesearch.Searches(path)
        self._forgetting = storehistory.History()
        self._upkeep = Upkeep(path, self._lock, self._stay, self._tidy)
        self._file = None if path == MEMORY else storefiles.locked(path)
        try:
            if self._file is not None and storecheck.made_whole(path):
                os.close(self._file)
                self._file = storefiles.locked(path)
            self._open()
            storecheck.set_aside(self._db, path)
            self._last, self._last_command = storestart.last_numbers(self._db)
            self._told = storestart.told(self._db)
            if storesearch.behind(self._db):  # as in a store of an earlier version
                self._upkeep.wrote(1)
        except (sqlite3.Error, OSError, StoreError) as error:
            if self._file is not None:
                os.close(self._file)
            raise error if isinstance(error, StoreError) else storefiles.store_error(path, error) from None

    def _open(self) -> None:
        self._db = storefiles.connected(self.path)
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0", CACHE):
            self._db.execute(f"PRAGMA {setting}")
        storeschema.prepare(self._db, self.path)
        if self._file is None:
            self._records.share(self._db, self._lock)
            self.searches.share(self._db, self._lock)
            return
        descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        if self._wal is None:
            self._wal = descriptor
        else:  # in one step, since somebody may be about to `sync`
            os.dup2(descriptor, self._wal, inheritable=False)
            os.close(descriptor)
        storefiles.sync_folder(self.path)
        self._files = storefiles.present(self.path)
        others = [storefiles.connected(self.path) for _ in range(4)]
        for each in others:
            each.execute(f"PRAGMA {CACHE}")
        self._records.use(read_only(others[0]))
        self.searches.use(read_only(others[1]))
        self._upkeep.use(*others[2:])

    def _shut_all(self) -> None:
        """Close the connections, the last of which takes the log over."""
        if self._file is not None:
            self._records.use(None)
            self.searches.use(None)
            self._upkeep.use()
        self._db.close()

    def _error(self, error: sqlite3.Error | OSError) -> StoreError:
        return storefiles.store_error(self.path, error)

    def _stay(self) -> None:
        """Write the files anew if they were removed or replaced, or if the disk has not taken what it was given.

        To look at them before each write took a fifth of a request. So one is acknowledged that a start would not find
        if the daemon is killed before the next look: at a write `LOOK_EVERY` later, at a pulse, or at the checkpoint
        one second after the last write.
        """
        self._looked = time.monotonic()
        if self._file is None:
            return
        trouble = storefiles.gone(self._files)
        if not trouble and (failed := self._sync.failed) is not None:
            trouble = f"{self.path}-wal was not put on the disk ({failed.strerror})"
            if self._looked < self._refused_anew + ANEW_EVERY:
                raise type(self._not_anew)(str(self._not_anew))
        if not trouble:
            return
        if trouble != self._trouble:
            log.critical("%s under the running daemon: the store is written anew", trouble)
        self._trouble = trouble
        try:
            if not self._shut:
                new = storefiles.written_anew(self._db, self.path)
                aside = storefiles.cleared(self.path, self._files)
                new.replace(self.path)
                log.critical("%s: nothing is lost%s", self.path, aside and f"; what was there is kept as {aside}")
                self._shut = True
                self._shut_all()
                Path(f"{self.path}-wal").unlink(missing_ok=True)
            file = storefiles.locked(self.path)
            os.dup2(file, self._file, inheritable=False)
            os.close(file)
            self._open()
            self._sync.begin_anew()
            self._shut, self._trouble = False, ""
        except (sqlite3.Error, OSError) as error:
            reason = storefiles.store_error(self.path, error)
            self._refused_anew = self._looked
            why = str(reason).removeprefix(f"{self.path}: ")
            self._not_anew = type(reason)(f"{trouble}, and the store cannot be written anew: {why}")
            raise self._not_anew from None

    def probe(self, thoroughly: bool) -> None:
        """Find out whether the store is well: by a write where ``thoroughly``, or if the last one was refused."""
        with self._lock:
            self._stay()
            self._commit([])
            if self.history_days and time.monotonic() > self._tidied + TIDY_EVERY:
                self._tidied = time.monotonic()
                self._upkeep.wrote(1)
            if thoroughly or self._refused:
                self._refused = True
                try:
                    storeschema.touch(self._db)
                except sqlite3.Error as error:
                    raise self._error(error) from None
                self._refused = False
                self._upkeep.wrote(1, soon=False)

    def add_all(self, requests: Sequence[Request], command: Command | None = None) -> None:
        """Commit new requests, and the command that they are, as one transaction; give them their numbers.

        Requests and commands are numbered apart. If it raises, nothing has happened. Of two requests or commands with
        the same key the later one is refused, and all that is committed with it: see `find_key` before.
        """
        with self._lock:
            number = None if command is None else self._last_command + 1
            first = self._last + 1
            rows = []
            for each, request in enumerate(requests, first):
                rows.append(storerows.values(request, request, each, number))
            self._commit(rows, None if command is None else storerows.command_values(command, self._last_command + 1))
            for each, request in enumerate(requests, first):
                request.id, request.command = each, number
            if command is not None:
                command.id = self._last_command = self._last_command + 1
            self._last = first + len(requests) - 1

    def note(self, request: Request) -> None:
        """Note what a request is now, for the next `flush`. The dispatcher's lock is held."""
        snapshot = storerows.taken(request)
        with self._noting:
            self.noted[request.id] = snapshot

    def lacks(self, *numbers: int) -> bool:
        """Whether the next `flush` writes down more of one of these requests. The dispatcher's lock is held."""
        return not self.noted.keys().isdisjoint(numbers)

    def flush(self) -> None:
        """Commit all that is noted. What cannot be written stays noted, and comes before anything else is written."""
        with self._lock:
            self._commit([])

    def _commit(self, rows: list[storerows.Values], command: storerows.Values | None = None) -> None:
        """Commit what is noted, and then some rows, all or nothing; the lock is held."""
        with self._noting:
            noted = self.noted.copy()
        if not noted and not rows and command is None:
            return
        if self._trouble or self._sync.failed or time.monotonic() - self._looked > LOOK_EVERY:
            self._stay()
        every: list[storerows.Values] = []
        for number, each in noted.items():
            every.append(storerows.values(each.request, each, number, each.request.command))
        rows = every + rows
        self._refused = True
        try:
            self._write(rows, command)
        except UnicodeEncodeError:
            self._write([storerows.without_halves(row) for row in rows], command and storerows.without_halves(command))
        self._refused = False
        self._upkeep.wrote(2 + len(rows) // 4)
        with self._noting:
            for number, each in noted.items():
                if self.noted[number] is each:
                    del self.noted[number]

    def _write(self, rows: list[storerows.Values], command: storerows.Values | None) -> None:
        """Commit rows: those of a single statement are a transaction by themselves."""
        try:
            if command is None and len(rows) <= CHUNK:
                self._db.execute(*storerows.upsert(rows))
                return
            self._db.execute("BEGIN IMMEDIATE")
            if command is not None:
                self._db.execute(storerows.ADD_COMMAND, command)
            for start in range(0, len(rows), CHUNK):
                self._db.execute(*storerows.upsert(rows[start : start + CHUNK]))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._error(error) from None
        finally:
            with suppress(sqlite3.Error):  # also where it is not open
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _tidy(self) -> int:
        """Forget a batch of what history has no room for, and have a batch of the rest found by its words.

        Return how many requests have come since there was no more to do, 0: there is not. The lock is held.
        """
        gone = self._forgetting.forget(self._db, self.history, self._forgotten_before(), _BATCH)
        entered = storesearch.enter(self._db)
        if gone or entered:
            self._upkeep.wrote(2 + (gone + entered) // 4, soon=bool(gone))
        if not (self._forgetting.more or entered == storesearch.BATCH):
            self._tidied_upto = self._last
            return 0
        return max(1, self._last - self._tidied_upto)

    def _forgotten_before(self) -> float:
        """Return when what has ended is too old, in seconds since the epoch."""
        return time.time() - self.history_days * 86400 if self.history_days else 0.0

    def live(self) -> list[Request]:
        """Return the requests that have not ended, in the order of acceptance."""
        try:
            with self._lock:
                return storestart.live(self._db)
        except sqlite3.Error as error:
            raise self._error(error) from None

    def record(self, number: int) -> dict[str, Any]:
        """Return one request as a record for people. Raises also: NoSuchRequest."""
        return self._records.record(number)

    def rows(self, most: int, before: int | None = None) -> list[sqlite3.Row]:
        """Return the newest requests, newest first, for `storerows.record_of`; ``before``: with lower numbers only."""
        return self._records.rows(most, before)

    def command(self, number: int) -> CommandRecord:
        """Return one command, with the rows of its requests. Raises also: NoSuchRequest."""
        return self._records.command(number)

    def request(self, number: int) -> Request:
        """Return one request as it is on record. Raises also: NoSuchRequest."""
        return self._records.request(number)

    def find_key(self, key: str) -> tuple[Literal["request", "command"], int] | None:
        """Return what was accepted with an idempotency key, and its number; None: nothing that is on record."""
        return self._records.find_key(key)

    def last_told(self, outlet: Outlet) -> tuple[State, float] | None:
        """Return what an outlet was last told to be and when; None if nothing is known of it.

        Unknown if the last try did not end well. A reboot between its halves has told it to be off.
        """
        return self._told.get(outlet)

    def all_told(self) -> Mapping[Outlet, tuple[State, float]]:
        """Return what all outlets were last told. Called before the start."""
        return self._told

    def switched(self, request: Request, outlet: Outlet, state: State, when: float) -> None:
        """Remember what a request has told an outlet to be, and when, which its next `note` takes along.

        The dispatcher's lock is held.
        """
        self._told[outlet] = request.switched[outlet] = state, when

    def sync(self) -> None:
        """Return when everything committed before the call would survive a power cut. All who wait share one."""
        if self._wal is not None:
            if self._sync.failed:
                with self._lock:
                    self._stay()
            try:
                self._sync.wait(self._wal)
            except OSError as error:
                raise self._error(error) from None

    def close(self) -> None:
        """Close the file and let the next daemon have it, with all that was noted. Called once."""
        home = self._upkeep.close(CLOSE_GRACE)
        try:
            if not home:
                raise StoreError(f"{self.path}: not closed: the disk does not answer")
            with self._lock:
                try:
                    self._stay()
                except StoreError:
                    if not self._sync.failed:
                        raise
                    self._sync.begin_anew()  # what is written now outlives this process all the same
                try:
                    self._commit([])
                finally:
                    self._shut_all()
        except sqlite3.Error as error:
            raise self._error(error) from None
        finally:
            for descriptor in (self._wal, self._file):
                if descriptor is not None:
                    os.close(descriptor)
