# SPDX-License-Identifier: MIT
"""The store: requests accepted and not yet ended, and what became of the rest.

SQLite in WAL mode with ``synchronous=NORMAL``: a commit is a write to the log, which outlives the death of the
process. To outlive a power cut the log must reach the disk: `sync` does that, and needs no lock, so that a slow disk
holds up only the one who asks. Each write is one statement: whenever SQLite runs, the interpreter's lock is given away,
and under load it takes longer to get that back than the write takes.

Apart from `sync` and `path`, callers hold the dispatcher's lock. Every method is one transaction and raises
StoreError.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pdudaemon.errors import NoSuchRequest, PDUDaemonError, StoreError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, State, Target

VERSION = 1
MEMORY = ":memory:"

_TABLE = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    action TEXT NOT NULL, target TEXT NOT NULL, all_outlets TEXT NOT NULL, delay REAL NOT NULL, client TEXT NOT NULL,
    accepted REAL NOT NULL, phase TEXT NOT NULL, owed INTEGER NOT NULL,
    outlets TEXT NOT NULL, started REAL, off_ended REAL,
    ended REAL, outcome TEXT, reason TEXT);
"""

_TRIM_EVERY = 64
LINGER = 1.0  # seconds for which the lock of a daemon that is dead may still be held


class Store:
    """One SQLite file, held by one daemon at a time. A file of the existing daemon keeps its own table."""

    def __init__(self, path: str, history: int = 10000) -> None:
        self.path = path
        self.history = history
        self._behind: dict[int, Request] = {}  # those whose progress could not be written
        self._ends = 0
        self._wal: int | None = None
        self._file = None if path == MEMORY else _locked(path)
        try:
            # The dispatcher's lock is what makes this one connection safe to share.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._prepare()
            if self._file is not None:
                self._wal = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
                _sync_folder(path)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path}: {error}") from None

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(f"{self.path}: written by a newer pdudaemon (version {version} of the store)")
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")  # the store is ours alone: no locks to take for each write
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA busy_timeout=1000")
        if version == 0:
            self._db.executescript(f"BEGIN; {_TABLE} PRAGMA user_version={VERSION}; COMMIT;")
        else:  # a write, so that a file which cannot be written is told at the start
            self._db.execute(f"PRAGMA user_version={VERSION}")

    def _write(self, statement: str, values: Sequence[object]) -> int:
        """Commit one statement, which is a transaction by itself; return the id of the row that it added."""
        try:
            return self._db.execute(statement, values).lastrowid or 0
        except UnicodeEncodeError:  # half a character, in a name that a token has, say
            whole = [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in values]
            return self._write(statement, whole)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None

    def add(self, request: Request) -> int:
        """Commit an accepted request; return its id."""
        self.catch_up()
        outlets = _spelled(request.target.outlets)
        values = (
            request.action,
            request.target.name,
            outlets,
            request.delay,
            request.client,
            request.accepted,
            request.phase,
            request.owed,
            outlets,
        )
        return self._write(
            "INSERT INTO request (action, target, all_outlets, delay, client, accepted, phase, owed, outlets)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    def progress(self, request: Request) -> None:
        """Commit how far a request has come; its end as well, once ``ended`` is set.

        What could not be written is owed, and comes before anything else that is written: see `catch_up`.
        """
        self._behind[request.id] = request
        self.catch_up()

    def catch_up(self) -> None:
        """Commit what could not be when it happened, so that no later request is on record without it."""
        for request in [*self._behind.values()]:
            self._progress(request)
            del self._behind[request.id]

    def _progress(self, request: Request) -> None:
        values = (
            request.phase,
            request.owed,
            _spelled(request.outlets),
            request.started,
            request.off_ended,
            request.ended,
            request.outcome,
            None if request.error is None else request.error.told,
            request.id,
        )
        self._write(
            "UPDATE request SET phase=?, owed=?, outlets=?, started=?, off_ended=?, ended=?, outcome=?, reason=?"
            " WHERE id=?",
            values,
        )
        if request.ended is not None:
            self._ends += 1
            if self._ends % _TRIM_EVERY == 0:  # the newest stays, so that no id is given twice
                forgotten = "DELETE FROM request WHERE ended IS NOT NULL AND id < (SELECT max(id) FROM request) - ?"
                self._write(forgotten, (self.history,))

    def live(self) -> list[Request]:
        """Return the requests that have not ended, in the order of acceptance."""
        return [_request(row) for row in self._rows("WHERE ended IS NULL ORDER BY id", ())]

    def record(self, number: int) -> dict[str, Any]:
        """Return one request as a record for people. Raises also: NoSuchRequest."""
        for row in self._rows("WHERE id = ?", (number,)):
            return _record(row)
        raise NoSuchRequest(f"there is no request {number}")

    def records(self, most: int) -> list[dict[str, Any]]:
        """Return the newest requests, newest first."""
        return [_record(row) for row in self._rows("ORDER BY id DESC LIMIT ?", (most,))]

    def last_told(self, outlet: Outlet) -> tuple[State, float] | None:
        """Return what an outlet was last told to be and when; None if nothing is known of it.

        Unknown if the last to be tried did not end well. A reboot between its halves has told it to be off.
        """
        for row in self._rows("WHERE instr(all_outlets, ?) ORDER BY id DESC", (json.dumps(outlet).removesuffix("]"),)):
            on_followed = (row["outcome"], row["action"], row["phase"]) == (Outcome.FAILED, Action.REBOOT, Phase.ON)
            if row["outcome"] == Outcome.DONE or on_followed:  # an on half ends failed only because of its off
                return State.OFF if row["action"] == Action.OFF else State.ON, row["ended"]
            if row["ended"] is not None and row["started"] is not None:
                return State.UNKNOWN, row["ended"]
            if row["off_ended"] is not None:
                return State.OFF, row["off_ended"]
        return None

    def sync(self) -> None:
        """Return when everything committed before the call would survive a power cut. Any thread, no lock."""
        if self._wal is not None:
            try:
                os.fdatasync(self._wal)
            except OSError as error:
                raise StoreError(f"{self.path}: {error}") from None

    def close(self) -> None:
        """Close the file and let the next daemon have it."""
        try:
            self._db.close()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None
        finally:
            for descriptor in (self._wal, self._file):
                if descriptor is not None:
                    os.close(descriptor)

    def _rows(self, condition: str, values: Sequence[object]) -> Iterator[sqlite3.Row]:
        """Yield the rows that meet a condition, read no further than they are asked for."""
        try:
            yield from self._db.execute(f"SELECT * FROM request {condition}", values)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None


def _locked(path: str) -> int:
    """Open the file and take the lock that says which daemon replays it.

    It is held on a descriptor of its own until the connection has gone: closing one earlier would drop the POSIX locks
    that SQLite holds on the same file. A daemon that was killed as it started a command leaves the lock to that for the
    moment between fork and exec.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreError(f"the store cannot be opened: {error.strerror}: {path}") from None
    give_up = time.monotonic() + LINGER
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            if time.monotonic() < give_up:
                threading.Event().wait(0.01)
                continue
            os.close(descriptor)
            raise StoreError(f"the store is in use by another pdudaemon: {path}") from None


def _sync_folder(path: str) -> None:
    """Make the names of the store's files themselves survive a power cut."""
    folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _spelled(outlets: Sequence[Outlet]) -> str:
    """Return outlets as they are kept: a PDU and a port, and how that was given where the driver wants to know."""
    return json.dumps([outlet if outlet.given is None else (*outlet, outlet.given) for outlet in outlets])


def _outlets(text: str) -> list[Outlet]:
    return [Outlet(*pair) for pair in json.loads(text)]


def _request(row: sqlite3.Row) -> Request:
    return Request(
        action=Action(row["action"]),
        target=Target(row["target"], tuple(_outlets(row["all_outlets"]))),
        delay=row["delay"],
        client=row["client"],
        accepted=row["accepted"],
        phase=Phase(row["phase"]),
        id=row["id"],
        owed=bool(row["owed"]),
        outlets=_outlets(row["outlets"]),
        started=row["started"],
        off_ended=row["off_ended"],
        error=PDUDaemonError(row["reason"]) if row["reason"] else None,
    )


def _record(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "action": row["action"],
        "target": row["target"],
        "outlets": [outlet._asdict() for outlet in _outlets(row["all_outlets"])],
        "delay": row["delay"],
        "client": row["client"],
        "accepted": row["accepted"],
        "ended": row["ended"],
        "state": Outcome(row["outcome"]).value if row["outcome"] else "accepted",
        "reason": row["reason"],
    }
