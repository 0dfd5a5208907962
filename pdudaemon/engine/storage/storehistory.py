# SPDX-License-Identifier: MIT
"""What history has room for: requests that have ended are forgotten, by their number and by their age.

In batches, by the thread that keeps the store short. By age as the wall clock has it: who sets that ahead by years has
the history forgotten that was to be kept for less.
"""

from __future__ import annotations

import sqlite3
import time

from pdudaemon.engine.storage import storesearch

KEYED = 900.0
"""Seconds for which what may be asked for again by its key, since an answer was lost, is remembered in any case."""


REST = 50.0
"""What could not be forgotten is looked at again when so many times has gone by as it took to pass it over."""

LOOKED_AT = 1000  # requests at once, with the store's lock held: less than a millisecond

_NEXT = (
    "SELECT id, ended IS NULL, ended < ?1, ended >= ?2 AND (key IS NOT NULL OR command IS NOT NULL)"
    " FROM request WHERE id > ?3 AND id < ?4 ORDER BY id LIMIT ?5"
)
_LEFT = (  # the newest stays, as that of the requests does
    "DELETE FROM command WHERE id = ?1 AND id < (SELECT max(id) FROM command)"
    " AND NOT EXISTS (SELECT 1 FROM request WHERE command = ?1)"
)


class History:
    """How far a store has been looked through. There may be any number of requests that cannot be forgotten yet: they
    are passed over, and looked at again after a while, since whoever writes must not wait until all have been counted.

    ``more``: there may be more to forget, at once.
    """

    def __init__(self) -> None:
        self.more: bool
        self._passed = 0  # all up to this number are gone, or stay for now
        self._took = 0.0  # seconds of the processor, to pass over those that stay
        self._looked = 0.0  # when that ended, in monotonic seconds

    def forget(self, database: sqlite3.Connection, history: int, before: float, batch: int) -> int:
        """Delete a batch of the oldest requests that have ended and are beyond a history, and the commands they leave.

        Beyond it are those that are not among the newest, and those that ended before some time in seconds since the
        epoch; those that may have a key, as commands have, not before `KEYED` is over. Return how many. The newest
        stays, so that no number is given twice. Raises: sqlite3.Error; nothing is gone then.
        """
        begun = time.thread_time()
        if time.monotonic() - self._looked > REST * self._took:
            self._passed, self._took = 0, 0.0
        gone: list[int] = []
        passed, stays = self._passed, False
        (newest,) = database.execute("SELECT max(id) FROM request").fetchone()
        bounds = (before, time.time() - KEYED, passed, newest, LOOKED_AT)
        rows = database.execute(_NEXT, bounds).fetchall()
        for number, is_open, aged, kept in rows:
            beyond = number < newest - history
            if len(gone) == batch or not (beyond or aged or (is_open and before)):
                break
            if is_open or kept:
                stays = True
            else:
                gone.append(number)
            passed = number
        took = time.thread_time() - begun
        if gone:
            self._delete(database, gone)
        self.more = len(gone) == batch or (len(rows) == LOOKED_AT and passed == rows[-1]["id"])
        self._passed = passed
        if stays:
            self._looked = time.monotonic()
            self._took += took
        return len(gone)

    @staticmethod
    def _delete(database: sqlite3.Connection, numbers: list[int]) -> None:
        database.execute("BEGIN IMMEDIATE")
        try:
            every = f"({','.join('?' * len(numbers))})"
            rows = database.execute(f"DELETE FROM request WHERE id IN {every} RETURNING *", numbers).fetchall()
            storesearch.remove(database, rows)
            for number in {row["command"] for row in rows} - {None}:
                database.execute(_LEFT, (number,))
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
