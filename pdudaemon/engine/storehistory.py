# SPDX-License-Identifier: MIT
"""What history has room for: requests that have ended are forgotten, by their number and by their age.

In batches, by the thread that keeps the store short. By age as the wall clock has it: who sets that ahead by years has
the history forgotten that was to be kept for less.
"""

from __future__ import annotations

import sqlite3
import time

from pdudaemon.engine import storesearch

KEYED = 900.0
"""Seconds for which what may be asked for again by its key, since an answer was lost, is remembered in any case."""


def forget(database: sqlite3.Connection, history: int, before: float, batch: int) -> int:
    """Delete a batch of the oldest requests that have ended, of those beyond a history, and the commands they leave.

    Beyond it are those that are not among the newest, and those that ended before some time in seconds since the epoch;
    those that may have a key, as commands have, not before `KEYED` is over.
    Return how many. The newest stays, so that no number is given twice. Raises: sqlite3.Error; nothing is gone then.
    """
    keyed = "ended >= ?5 AND (key IS NOT NULL OR command IS NOT NULL)"
    oldest = f"SELECT id, ended FROM request WHERE ended IS NOT NULL AND id < ?1 AND NOT ({keyed}) ORDER BY id LIMIT ?3"
    old = f"SELECT id FROM ({oldest}) WHERE id < ?2 OR ended < ?4"
    left = (  # the newest stays, as that of the requests does
        "DELETE FROM command WHERE id = ?1 AND id < (SELECT max(id) FROM command)"
        " AND NOT EXISTS (SELECT 1 FROM request WHERE command = ?1)"
    )
    database.execute("BEGIN IMMEDIATE")
    try:
        (newest,) = database.execute("SELECT max(id) FROM request").fetchone()
        newest = newest or 0
        lately = time.time() - KEYED
        bounds = (newest if before else newest - history, newest - history, batch, before, lately)
        gone = database.execute(f"DELETE FROM request WHERE id IN ({old}) RETURNING *", bounds).fetchall()
        storesearch.remove(database, gone)
        for number in {row["command"] for row in gone} - {None}:
            database.execute(left, (number,))
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
    return len(gone)
