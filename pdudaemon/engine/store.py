# SPDX-License-Identifier: MIT
"""The store: requests accepted and not yet ended, and what became of the rest.

SQLite in WAL mode with ``synchronous=NORMAL``: a commit is a write to the log, which outlives the death of the
process. To outlive a power cut the log must reach the disk: `sync` does that, and needs no lock, so that a slow disk
holds up only the one who asks. Each write is one statement: whenever SQLite runs, the interpreter's lock is given away,
and under load it takes longer to get that back than the write takes.

What each outlet was last told to be is a table of its own, which history has no part in: a trigger keeps it in the
commit that says so of the request, and it is read once, at the start.

Apart from `sync` and `path`, callers hold the dispatcher's lock. Every method is one transaction and raises
StoreError. Before the file is opened it is looked at as a whole: see `storecheck`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pdudaemon.engine import storecheck, storefiles
from pdudaemon.errors import NoSuchRequest, PDUDaemonError, StoreError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, State, Target

log = logging.getLogger("pdud.store")

VERSION = 2
MEMORY = ":memory:"

_TABLE = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    action TEXT NOT NULL, target TEXT NOT NULL, all_outlets TEXT NOT NULL, delay REAL NOT NULL, client TEXT NOT NULL,
    accepted REAL NOT NULL, phase TEXT NOT NULL,
    outlets TEXT NOT NULL, started REAL, off_ended REAL,
    ended REAL, outcome TEXT, reason TEXT,
    boot TEXT NOT NULL DEFAULT '', accepted_uptime REAL NOT NULL DEFAULT 0, off_ended_uptime REAL,
    debts TEXT NOT NULL DEFAULT '[]', switched TEXT NOT NULL DEFAULT '[]');
"""
# Of what a request switched only that which is new: others may have switched the rest since.
_TOLD = """
CREATE TABLE told (
    pdu TEXT NOT NULL, port TEXT NOT NULL, state TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (pdu, port));
CREATE TRIGGER request_told AFTER UPDATE OF switched ON request WHEN new.switched <> old.switched BEGIN
    INSERT OR REPLACE INTO told
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
           json_extract(value, '$[2]'), json_extract(value, '$[3]')
    FROM json_each(new.switched) WHERE value NOT IN (SELECT value FROM json_each(old.switched));
END;
"""
# Version 1 knew of a request, not of an outlet, that it owed an on.
_FROM_VERSION_1 = """
ALTER TABLE request ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN accepted_uptime REAL NOT NULL DEFAULT 0;
ALTER TABLE request ADD COLUMN off_ended_uptime REAL;
ALTER TABLE request ADD COLUMN debts TEXT NOT NULL DEFAULT '[]';
ALTER TABLE request ADD COLUMN switched TEXT NOT NULL DEFAULT '[]';
UPDATE request SET debts = outlets WHERE ended IS NULL AND owed AND (started IS NOT NULL OR phase = 'on');
ALTER TABLE request DROP COLUMN owed;
"""

_TRIM_EVERY = 64
LINGER = 1.0  # seconds for which the lock of a daemon that is dead may still be held
_LOG_HEADER = 32  # bytes, with a salt: https://sqlite.org/fileformat2.html#walformat
_COPIES = 20
_PHASES = {Action.ON: (Phase.ON,), Action.OFF: (Phase.OFF,), Action.REBOOT: tuple(Phase)}


class Store:
    """One SQLite file, held by one daemon at a time. A file of the existing daemon keeps its own table."""

    def __init__(self, path: str, history: int = 10000) -> None:
        self.path = path
        self.history = history
        self._behind: dict[int, Request] = {}  # those whose progress could not be written
        self._told: dict[Outlet, tuple[State, float]] = {}
        self._ends = 0
        self._wal: int | None = None
        self._files: Mapping[str, storefiles.Identity] = {}  # as they were opened
        self._shut = False  # between two files: see `stay`
        self._trouble = ""  # the last that was logged
        self._refused = False  # the last write
        self._file = None if path == MEMORY else _locked(path)
        try:
            if self._file is not None and storecheck.made_whole(path, _fresh(), _check):
                os.close(self._file)
                self._file = _locked(path)
            self._open()
            storecheck.set_aside(self._db, path, _check)
            self._read_told()
        except (sqlite3.Error, OSError, StoreError) as error:
            if self._file is not None:
                os.close(self._file)
            raise error if isinstance(error, StoreError) else self._error(error) from None

    def _open(self) -> None:
        # The dispatcher's lock is what makes this one connection safe to share.
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._prepare()
        if self._file is not None:
            descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            if self._wal is None:
                self._wal = descriptor
            else:  # in one step, since somebody may be about to `sync`
                os.dup2(descriptor, self._wal, inheritable=False)
                os.close(descriptor)
            _sync_folder(self.path)
            self._files = storefiles.present(self.path)

    def _error(self, error: sqlite3.Error | OSError) -> StoreError:
        return StoreError(f"{self.path}: {storefiles.why(self.path, error)}")

    def stay(self) -> None:
        """Write the files anew if they were removed or replaced, before anything is said of what is in them."""
        trouble = storefiles.gone(self._files)
        if not trouble or self._file is None:
            return
        if trouble != self._trouble:
            log.critical("%s under the running daemon: the store is written anew", trouble)
        self._trouble = trouble
        try:
            if not self._shut:
                new = storefiles.copied(self._db, self.path)
                aside = storefiles.cleared(self.path, self._files)
                new.replace(self.path)
                log.critical("%s: nothing is lost%s", self.path, aside and f"; what was there is kept as {aside}")
                self._shut = True
                self._db.close()
                Path(f"{self.path}-wal").unlink(missing_ok=True)
            file = _locked(self.path)
            os.dup2(file, self._file, inheritable=False)
            os.close(file)
            self._open()
            self._shut, self._trouble = False, ""
        except (sqlite3.Error, OSError) as error:
            why = storefiles.why(self.path, error)
            raise StoreError(f"{trouble}, and the store cannot be written anew: {why}") from None

    def probe(self, thoroughly: bool) -> None:
        """Find out whether the store is well: by a write where ``thoroughly``, or if the last one was refused."""
        self.stay()
        self.catch_up()
        if thoroughly or self._refused:
            self._write(f"PRAGMA user_version={VERSION}", ())

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(f"{self.path}: written by a newer pdudaemon (version {version} of the store)")
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")  # the store is ours alone: no locks to take for each write
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA busy_timeout=1000")
        if version == 0:
            self._db.executescript(f"BEGIN; {_TABLE} {_TOLD} PRAGMA user_version={VERSION}; COMMIT;")
            self._db.execute("PRAGMA wal_checkpoint")  # so that what it all hangs on is not in the log alone
            self._db.execute(f"PRAGMA user_version={VERSION}")
        elif version == 1:
            self._migrate()
        else:  # a write, so that a file which cannot be written is told at the start
            self._db.execute(f"PRAGMA user_version={VERSION}")

    def _migrate(self) -> None:
        """Make a store of version 1 one of this version, all of it or nothing."""
        try:
            self._db.executescript(f"BEGIN IMMEDIATE; {_FROM_VERSION_1} {_TOLD}")
            told: dict[Outlet, tuple[State, float]] = {}
            for row in self._db.execute("SELECT * FROM request ORDER BY id DESC"):
                found = _told_by(row)
                if found is not None:
                    with contextlib.suppress(ValueError, TypeError):  # a row without sense, seen to later
                        for outlet in _outlets(row["all_outlets"]):
                            told.setdefault(outlet, found)
            self._db.executemany(
                "INSERT INTO told VALUES (?, ?, ?, ?)", [(*outlet, *found) for outlet, found in told.items()]
            )
            self._db.execute(f"PRAGMA user_version={VERSION}")
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _read_told(self) -> None:
        # As bytes: half a character, which JSON can spell, is no UTF-8.
        told = "SELECT CAST(pdu AS BLOB), CAST(port AS BLOB), state, time FROM told"
        for pdu, port, state, when in self._db.execute(told):
            outlet = Outlet(pdu.decode(errors="surrogatepass"), port.decode(errors="surrogatepass"))
            with contextlib.suppress(ValueError):  # else nothing is known of it
                self._told[outlet] = State(state), float(when)

    def _write(self, statement: str, values: Sequence[object]) -> int:
        """Commit one statement, which is a transaction by itself; return the id of the row that it added."""
        self.stay()
        self._refused = True
        try:
            row = self._db.execute(statement, values).lastrowid or 0
            self._refused = False
            return row
        except UnicodeEncodeError:  # half a character, in a name that a token has, say
            whole = [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in values]
            return self._write(statement, whole)
        except sqlite3.Error as error:
            raise self._error(error) from None

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
            outlets,
            request.boot,
            request.accepted_uptime,
            _spelled(request.debts),
        )
        return self._write(
            "INSERT INTO request (action, target, all_outlets, delay, client, accepted, phase, outlets,"
            " boot, accepted_uptime, debts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            _spelled(request.outlets),
            request.started,
            request.off_ended,
            request.ended,
            request.outcome,
            None if request.error is None else request.error.told,
            request.boot,
            request.accepted_uptime,
            request.off_ended_uptime,
            _spelled(request.debts),
            json.dumps([(*outlet, *told) for outlet, told in request.switched.items()]) if request.switched else "[]",
            request.id,
        )
        self._write(
            "UPDATE request SET phase=?, outlets=?, started=?, off_ended=?, ended=?, outcome=?, reason=?,"
            " boot=?, accepted_uptime=?, off_ended_uptime=?, debts=?, switched=? WHERE id=?",
            values,
        )
        if request.ended is not None:
            self._ends += 1
            if self._ends % _TRIM_EVERY == 0:  # the newest stays, so that no id is given twice
                forgotten = "DELETE FROM request WHERE ended IS NOT NULL AND id < (SELECT max(id) FROM request) - ?"
                self._write(forgotten, (self.history,))

    def live(self) -> list[Request]:
        """Return the requests that have not ended, in the order of acceptance."""
        times = "accepted, ifnull(started, 0), ifnull(off_ended, 0), ifnull(ended, 0)"
        dated = f"SELECT *, max(max({times})) OVER (ORDER BY id DESC) AS latest FROM request"
        return [_request(row) for row in self._rows("WHERE ended IS NULL ORDER BY id", (), f"({dated})")]

    def record(self, number: int) -> dict[str, Any]:
        """Return one request as a record for people. Raises also: NoSuchRequest."""
        for row in self._rows("WHERE id = ?", (number,)):
            return record_of(row)
        raise NoSuchRequest(f"there is no request {number}")

    def rows(self, most: int) -> list[sqlite3.Row]:
        """Return the newest requests, newest first, for `record_of`: that takes its time, and needs no lock."""
        return [*self._rows("ORDER BY id DESC LIMIT ?", (most,))]

    def last_told(self, outlet: Outlet) -> tuple[State, float] | None:
        """Return what an outlet was last told to be and when; None if nothing is known of it.

        Unknown if the last try did not end well. A reboot between its halves has told it to be off.
        """
        return self._told.get(outlet)

    def switched(self, request: Request, outlet: Outlet, state: State, when: float) -> None:
        """Note what a request has told an outlet to be, and when; the next `progress` of the request commits it."""
        self._told[outlet] = request.switched[outlet] = state, when

    def sync(self) -> None:
        """Return when everything committed before the call would survive a power cut. Any thread, no lock."""
        if self._wal is not None:
            try:
                os.fdatasync(self._wal)
            except OSError as error:
                raise self._error(error) from None

    def close(self) -> None:
        """Close the file and let the next daemon have it."""
        try:
            self.stay()
            self._db.close()
        except sqlite3.Error as error:
            raise self._error(error) from None
        finally:
            for descriptor in (self._wal, self._file):
                if descriptor is not None:
                    os.close(descriptor)

    def _rows(self, condition: str, values: Sequence[object], table: str = "request") -> Iterator[sqlite3.Row]:
        """Yield the rows that meet a condition, read no further than they are asked for."""
        try:
            yield from self._db.execute(f"SELECT * FROM {table} {condition}", values)
        except sqlite3.Error as error:
            raise self._error(error) from None


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
        raise StoreError(f"the store cannot be opened: {storefiles.why(path, error)}: {path}") from None
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
                with contextlib.suppress(FileNotFoundError):  # gone meanwhile
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


def _sync_folder(path: str) -> None:
    """Make the names of the store's files themselves survive a power cut."""
    folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _spelled(outlets: Collection[Outlet]) -> str:
    """Return outlets as they are kept: a PDU and a port, and how that was given where the driver wants to know."""
    return json.dumps([outlet if outlet.given is None else (*outlet, outlet.given) for outlet in outlets])


def _fresh() -> bytes:
    """Return a store with nothing in it."""
    with contextlib.closing(sqlite3.connect(MEMORY)) as database:
        database.executescript(f"{_TABLE} {_TOLD} PRAGMA user_version={VERSION};")
        return database.serialize()


def _check(row: sqlite3.Row) -> None:
    """Raises: ValueError, TypeError, LookupError if a row makes no sense."""
    request = _request(cast(sqlite3.Row, {**dict(row), "latest": 0.0}))
    for value in tuple(row):
        if isinstance(value, bytes) or (isinstance(value, str) and value.encode().decode() != value):
            raise ValueError("what should be text is none")
    times = [request.delay, request.accepted, *(when for _, when in request.switched.values())]
    times += [each for each in (request.started, request.off_ended, row["ended"]) if each is not None]
    uptimes = [request.accepted_uptime, request.off_ended_uptime or 0.0]  # negative: before the machine's last start
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in (*times, *uptimes)) or min(times) < 0:
        raise ValueError("a time is none")
    every = request.target.outlets
    some = {*request.outlets} | request.debts | {*request.switched}
    if not every or not some <= {*every} or not all(isinstance(word, str) for outlet in every for word in outlet):
        raise ValueError("its outlets are none")
    if request.phase not in _PHASES.get(request.action, ()):
        raise ValueError(f"{request.action} and {request.phase} do not go together")
    outcome = row["outcome"]
    paying = row["ended"] is None and outcome in (Outcome.FAILED, Outcome.SUPERSEDED, Outcome.GIVEN_UP)
    if (row["ended"] is None) != (outcome is None) and not paying:
        raise ValueError("it has ended and has not")


def _outlets(text: str) -> list[Outlet]:
    return [Outlet(*pair) for pair in json.loads(text)]


def _told_by(row: sqlite3.Row) -> tuple[State, float] | None:
    """Return what a request of version 1 had told its outlets to be, and when; None: nothing yet."""
    on_followed = (row["outcome"], row["action"], row["phase"]) == (Outcome.FAILED, Action.REBOOT, Phase.ON)
    if row["outcome"] == Outcome.DONE or on_followed:  # an on half ended failed only because of its off
        return State.OFF if row["action"] == Action.OFF else State.ON, row["ended"]
    if row["ended"] is not None and row["started"] is not None:
        return State.UNKNOWN, row["ended"]
    return None if row["off_ended"] is None else (State.OFF, row["off_ended"])


def _request(row: sqlite3.Row) -> Request:
    return Request(
        action=Action(row["action"]),
        target=Target(row["target"], tuple(_outlets(row["all_outlets"]))),
        delay=row["delay"],
        client=row["client"],
        accepted=row["accepted"],
        phase=Phase(row["phase"]),
        id=row["id"],
        boot=row["boot"],
        accepted_uptime=row["accepted_uptime"],
        latest=row["latest"],
        debts=set(_outlets(row["debts"])),
        outlets=_outlets(row["outlets"]),
        started=row["started"],
        off_ended=row["off_ended"],
        off_ended_uptime=row["off_ended_uptime"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        switched={Outlet(pdu, port): (State(state), when) for pdu, port, state, when in json.loads(row["switched"])},
        error=PDUDaemonError(row["reason"]) if row["reason"] else None,
    )


def record_of(row: sqlite3.Row) -> dict[str, Any]:
    """Return a request as a record for people. Any thread, no lock."""
    return {
        "id": row["id"],
        "action": row["action"],
        "target": row["target"],
        "outlets": [outlet._asdict() for outlet in _outlets(row["all_outlets"])],
        "delay": row["delay"],
        "client": row["client"],
        "accepted": row["accepted"],
        "ended": row["ended"],
        "switched": [{"pdu": pdu, "port": port, "state": state} for pdu, port, state, _ in json.loads(row["switched"])],
        "state": "accepted" if row["ended"] is None else row["outcome"],
        "reason": row["reason"],
    }
