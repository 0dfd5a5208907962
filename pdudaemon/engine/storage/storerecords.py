# SPDX-License-Identifier: MIT
"""`Records`: what of a store is read for people, through a connection of its own.

Whoever looks holds up nobody who writes, however much there is to read; and sees all that has been committed.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Any, Literal, NamedTuple

from pdudaemon.engine.storage import storefiles, storerows
from pdudaemon.errors import NoSuchRequest, StoreError
from pdudaemon.power import Command, Request

MOST_ROWS = 10_000  # read at once, for whoever asks for more

_KEY = "SELECT 'request', id FROM request WHERE key = ?1 UNION ALL SELECT 'command', id FROM command WHERE key = ?1"


class CommandRecord(NamedTuple):
    """A command, and the rows of its requests that history still has, in the order of acceptance."""

    command: Command
    rows: list[sqlite3.Row]


class Reader:
    """Reads a store through a connection of its own, since looking may take longer than anybody may be held up by."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def share(self, database: sqlite3.Connection, lock: threading.Lock) -> None:
        """Read through a connection that others use as well, with its lock: there is one to what is in memory."""
        self._database, self._lock = database, lock

    def use(self, database: sqlite3.Connection | None) -> None:
        """Read through a connection of its own from now on, or through none; close the one before."""
        with self._lock:
            before, self._database = self._database, database
            if before is not None:
                before.close()

    def _read(self, statement: str, *values: object) -> list[sqlite3.Row]:
        try:
            with self._lock:
                if self._database is None:
                    raise StoreError(f"{self._path}: not open")
                return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise storefiles.store_error(self._path, error) from None
        except (OverflowError, UnicodeEncodeError):  # a number, or half a character, that no row can have
            return []


class Records(Reader):
    """Reads the store. Any thread, without the dispatcher's lock; methods raise StoreError."""

    def record(self, number: int) -> dict[str, Any]:
        """Return one request as a record for people. Raises also: NoSuchRequest."""
        for row in self._read("SELECT * FROM request WHERE id = ?", number):
            return storerows.record_of(row)
        raise NoSuchRequest(f"there is no request {number}")

    def rows(self, most: int, before: int | None = None) -> list[sqlite3.Row]:
        """Return the newest requests, newest first, for `storerows.record_of`; ``before``: those with lower numbers."""
        most = max(0, min(most, MOST_ROWS))
        if before is None:
            return self._read("SELECT * FROM request ORDER BY id DESC LIMIT ?", most)
        return self._read("SELECT * FROM request WHERE id < ? ORDER BY id DESC LIMIT ?", before, most)

    def command(self, number: int) -> CommandRecord:
        """Return one command. Raises also: NoSuchRequest."""
        for row in self._read("SELECT * FROM command WHERE id = ?", number):
            try:
                command = storerows.command_of(row)
            except storerows.SENSELESS as error:
                raise StoreError(f"{self._path}: command {number} makes no sense: {error}") from None
            return CommandRecord(command, self._read("SELECT * FROM request WHERE command = ? ORDER BY id", number))
        raise NoSuchRequest(f"there is no command {number}")

    def request(self, number: int) -> Request:
        """Return one request as it is on record. Raises also: NoSuchRequest."""
        for row in self._read("SELECT * FROM request WHERE id = ?", number):
            try:
                return storerows.request_of(row)
            except storerows.SENSELESS as error:
                raise StoreError(f"{self._path}: request {number} makes no sense: {error}") from None
        raise NoSuchRequest(f"there is no request {number}")

    def find_key(self, key: str) -> tuple[Literal["request", "command"], int] | None:
        """Return the request, or the command, that was accepted with an idempotency key."""
        for kind, number in self._read(_KEY, key):
            return ("request" if kind == "request" else "command"), number
        return None


def read_only(database: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection that writes nothing, and reads also what is no text."""
    database.execute("PRAGMA query_only=1")
    database.text_factory = lambda raw: raw.decode(errors="replace")
    return database
