# SPDX-License-Identifier: MIT
"""The tables of a store, and how those of earlier versions are made these.

Version 2 knows of an outlet, not of a request, that it owes an on; version 3 knows commands and keys; version 4 can be
searched; version 5 knows what is asked to shut down.
"""

from __future__ import annotations

import contextlib
import sqlite3

from pdudaemon.engine.storage import storerows, storesearch
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, Outcome, Outlet, Phase, State

VERSION = 5

# There is no index of what has not ended: `quick_check` does not hold an index against its table, so one damaged byte
# could hide a board that has yet to be switched on. To look through 1,000,000 requests at a start takes 0.13 s.
_REQUEST = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    action TEXT NOT NULL, target TEXT NOT NULL, all_outlets TEXT NOT NULL, delay REAL NOT NULL, client TEXT NOT NULL,
    accepted REAL NOT NULL, phase TEXT NOT NULL,
    outlets TEXT NOT NULL, started REAL, off_ended REAL,
    ended REAL, outcome TEXT, reason TEXT,
    boot TEXT NOT NULL DEFAULT '', accepted_uptime REAL NOT NULL DEFAULT 0, off_ended_uptime REAL,
    debts TEXT NOT NULL DEFAULT '[]', switched TEXT NOT NULL DEFAULT '[]',
    command INTEGER, names TEXT NOT NULL DEFAULT '[]', key TEXT, kind TEXT,
    soft TEXT);
"""
_TOLD = """
CREATE TABLE told (
    pdu TEXT NOT NULL, port TEXT NOT NULL, state TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (pdu, port));
"""
# Of what a request switched only that which is new: others may have switched the rest since. One outlet, as it is most
# often, takes half the time. OR REPLACE would mean nothing here: what the statement that sets off a trigger says of
# conflicts goes before.
_TRIGGERS = """
CREATE TRIGGER request_told_one AFTER UPDATE OF switched ON request
WHEN old.switched = '[]' AND json_array_length(new.switched) = 1 BEGIN
    INSERT INTO told
    VALUES (json_extract(new.switched, '$[0][0]'), json_extract(new.switched, '$[0][1]'),
            json_extract(new.switched, '$[0][2]'), json_extract(new.switched, '$[0][3]'))
    ON CONFLICT (pdu, port) DO UPDATE SET state=excluded.state, time=excluded.time;
END;
CREATE TRIGGER request_told AFTER UPDATE OF switched ON request
WHEN new.switched <> old.switched AND NOT (old.switched = '[]' AND json_array_length(new.switched) = 1) BEGIN
    INSERT INTO told
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
           json_extract(value, '$[2]'), json_extract(value, '$[3]')
    FROM json_each(new.switched) WHERE value NOT IN (SELECT value FROM json_each(old.switched))
    ON CONFLICT (pdu, port) DO UPDATE SET state=excluded.state, time=excluded.time;
END;
"""
_COMMAND = """
CREATE TABLE command (
    id INTEGER PRIMARY KEY,
    action TEXT NOT NULL, client TEXT NOT NULL, accepted REAL NOT NULL, names TEXT NOT NULL, key TEXT);
CREATE UNIQUE INDEX command_key ON command (key) WHERE key IS NOT NULL;
CREATE UNIQUE INDEX request_key ON request (key) WHERE key IS NOT NULL;
CREATE INDEX request_command ON request (command) WHERE command IS NOT NULL;
"""
_TABLES = f"{_REQUEST} {_TOLD} {_TRIGGERS} {_COMMAND} {storesearch.SCHEMA}"
_FROM_VERSION_1 = """
ALTER TABLE request ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN accepted_uptime REAL NOT NULL DEFAULT 0;
ALTER TABLE request ADD COLUMN off_ended_uptime REAL;
ALTER TABLE request ADD COLUMN debts TEXT NOT NULL DEFAULT '[]';
ALTER TABLE request ADD COLUMN switched TEXT NOT NULL DEFAULT '[]';
UPDATE request SET debts = outlets WHERE ended IS NULL AND owed AND (started IS NOT NULL OR phase = 'on');
ALTER TABLE request DROP COLUMN owed;
"""
_FROM_VERSION_2 = """
ALTER TABLE request ADD COLUMN command INTEGER;
ALTER TABLE request ADD COLUMN names TEXT NOT NULL DEFAULT '[]';
ALTER TABLE request ADD COLUMN key TEXT;
ALTER TABLE request ADD COLUMN kind TEXT;
"""
_FROM_VERSION_4 = "ALTER TABLE request ADD COLUMN soft TEXT;"


def fresh() -> bytes:
    """Return a store with nothing in it."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(f"{_TABLES} PRAGMA user_version={VERSION};")
        return database.serialize()


def version_of(database: sqlite3.Connection) -> int:
    """Return of which version the tables are, whatever is said of them; of a later one than this, what is said.

    Raises: sqlite3.Error.
    """
    said: int = database.execute("PRAGMA user_version").fetchone()[0]
    if said > VERSION:
        return said
    columns = {name for (name,) in database.execute("SELECT name FROM pragma_table_info('request')")}
    for version, column in enumerate(("id", "boot", "command")):
        if column not in columns:
            return version
    searched = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'span'").fetchone()
    return 3 if searched is None else 4 if "soft" not in columns else 5


def prepare(database: sqlite3.Connection, path: str) -> None:
    """See to it that a database has the tables of this version. Raises: StoreError, sqlite3.Error."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StoreError(f"{path}: written by a newer pdudaemon (version {version} of the store)")
    if version == 0:
        script = f"BEGIN; {_TABLES} PRAGMA user_version={VERSION}; COMMIT;"
        database.executescript(script)
        database.execute("PRAGMA wal_checkpoint")  # so that what it all hangs on is not in the log alone
    elif version < VERSION:
        _migrate(database, version)
    touch(database)


def touch(database: sqlite3.Connection) -> None:
    """Write what changes nothing, so that a file which cannot be written is told. Raises: sqlite3.Error."""
    database.execute(f"PRAGMA user_version={VERSION}")


def _migrate(database: sqlite3.Connection, version: int) -> None:
    """Make a store of an earlier version one of this version, all of it or nothing."""
    begin = f"{_FROM_VERSION_1} {_TOLD}" if version == 1 else "DROP TRIGGER IF EXISTS request_told;"
    commands = f"{begin} {_TRIGGERS} {_FROM_VERSION_2} {_COMMAND}" if version < 3 else ""
    search = storesearch.SCHEMA if version < 4 else ""
    try:
        database.executescript(f"BEGIN IMMEDIATE; {commands} {search} {_FROM_VERSION_4}")
        if version == 1:
            _fill_told(database)
        database.execute(f"PRAGMA user_version={VERSION}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _fill_told(database: sqlite3.Connection) -> None:
    """Note what the requests of version 1 had told their outlets to be."""
    told: dict[Outlet, tuple[State, float]] = {}
    for row in database.execute("SELECT * FROM request ORDER BY id DESC"):
        found = _told_by(row)
        if found is not None:
            with contextlib.suppress(*storerows.SENSELESS):  # a row without sense, seen to later
                for outlet in storerows.outlets_of(row["all_outlets"]):
                    told.setdefault(outlet, found)
    database.executemany("INSERT INTO told VALUES (?, ?, ?, ?)", [(*outlet, *found) for outlet, found in told.items()])


def _told_by(row: sqlite3.Row) -> tuple[State, float] | None:
    """Return what a request of version 1 had told its outlets to be, and when; None: nothing yet."""
    on_followed = (row["outcome"], row["action"], row["phase"]) == (Outcome.FAILED, Action.REBOOT, Phase.ON)
    if row["outcome"] == Outcome.DONE or on_followed:  # an on half ended failed only because of its off
        return State.OFF if row["action"] == Action.OFF else State.ON, row["ended"]
    if row["ended"] is not None and row["started"] is not None:
        return State.UNKNOWN, row["ended"]
    return None if row["off_ended"] is None else (State.OFF, row["off_ended"])
