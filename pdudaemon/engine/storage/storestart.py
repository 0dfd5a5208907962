# SPDX-License-Identifier: MIT
"""What a start reads of a store: the requests that go on, what each outlet was last told, the last number given.

None of it builds what history holds: SQLite looks through 1,000,000 requests in a tenth of a second.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from pdudaemon.engine.storage import storerows
from pdudaemon.power import Outlet, Request, State

_DATED = 1000  # requests, the newest, that tell how far the clock has been
_LAST = "SELECT (SELECT ifnull(max(id), 0) FROM request), (SELECT ifnull(max(id), 0) FROM command)"
_TIMES = "max(accepted, ifnull(started, 0), ifnull(off_ended, 0), ifnull(ended, 0))"
_LIVE = f"SELECT *, {_TIMES} AS latest FROM request WHERE ended IS NULL ORDER BY id DESC"
_NEWEST = f"SELECT id, {_TIMES} FROM request ORDER BY id DESC LIMIT {_DATED}"
# As bytes: half a character, which JSON can spell, is no UTF-8.
_TOLD = "SELECT CAST(pdu AS BLOB), CAST(port AS BLOB), state, time FROM told"


def last_numbers(database: sqlite3.Connection) -> tuple[int, int]:
    """Return the highest number that was given to a request, and to a command. Raises: sqlite3.Error."""
    requests, commands = database.execute(_LAST).fetchone()
    return requests, commands


def told(database: sqlite3.Connection) -> dict[Outlet, tuple[State, float]]:
    """Return what each outlet was last told to be, and when. Raises: sqlite3.Error."""
    found = {}
    for pdu, port, state, when in database.execute(_TOLD):
        outlet = Outlet(pdu.decode(errors="surrogatepass"), port.decode(errors="surrogatepass"))
        with suppress(ValueError):  # else nothing is known of it
            found[outlet] = State(state), float(when)
    return found


def live(database: sqlite3.Connection) -> list[Request]:
    """Return the requests that have not ended, in the order of acceptance. Raises: sqlite3.Error.

    How far the clock has been since each was accepted is told by those after it, and by the newest that have ended.
    """
    found: list[Request] = []
    dated = [*database.execute(_NEWEST)]
    latest, seen = 0.0, 0
    for row in database.execute(_LIVE).fetchall():
        while seen < len(dated) and dated[seen][0] >= row["id"]:
            latest, seen = max(latest, dated[seen][1]), seen + 1
        latest = max(latest, row["latest"])
        found.append(storerows.request_of(row, latest))
    return found[::-1]
