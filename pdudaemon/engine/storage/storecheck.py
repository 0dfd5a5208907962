# SPDX-License-Identifier: MIT
"""Whether the files of a store are whole, and its rows make sense; what is done with those that do not.

SQLite has no check sums in a database, and says nothing of what it leaves out of a damaged log. So a store is looked
at before it is opened. Nothing is thrown away: damaged files are kept beside it, rows that make no sense in a table of
their own. What may have been lost is said as loudly as can be: a board that waits in it stays off.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from pdudaemon.engine.storage import storefiles, storerows, storesalvage, storeschema, walfile
from pdudaemon.power import Outcome

log = logging.getLogger("pdud.store")

MOST_NAMED = 50
LONGEST_CHECK = 20.0  # seconds, of a start
NEWEST = 1000  # requests that are looked at one by one though they have ended

_UTF_8 = codecs.getincrementaldecoder("utf-8")  # to which a character that is cut through at the end is none yet
_OUTCOMES = ", ".join(f"'{each}'" for each in Outcome)
_SUSPECTS = f"""
SELECT * FROM request
WHERE id > (SELECT max(id) FROM request) - {NEWEST} OR ended IS NULL OR outcome IS NULL
OR typeof(ended) <> 'real' OR typeof(accepted) <> 'real' OR outcome NOT IN ({_OUTCOMES})
"""


def made_whole(path: str) -> bool:
    """Look at the files of a store that nobody has open, and mend them; return whether there is another file now.

    SQLite looks through all of it, which takes 0.4 s for 1,000,000 requests, for 20 s at most.
    Raises: OSError, sqlite3.Error, of what the machine does not allow.
    """
    main, wal = Path(path), Path(f"{path}-wal")
    with main.open("rb") as file:
        head = file.read(storesalvage.PAGE_SIZE)
    if not storesalvage.MAGIC.startswith(head) and _is_text(head):
        return False  # somebody else's file, put there by mistake: SQLite refuses it
    records = walfile.read(wal, storesalvage.page_size(head))
    trouble = records.trouble()
    if not head and records.whole:
        trouble = trouble or "it is empty, and its log is not"
    trouble = trouble or _header_trouble(head) or _trouble(path)
    if not trouble:
        return False
    kept = _keep(main, wal)
    image, lost = storesalvage.best(kept.read_bytes(), records)
    _put(image, main)
    log.critical("%s: the store is damaged: %s; it is kept as %s", path, trouble, kept)
    log.critical("%s: %s", path, _meaning(lost))
    return True


def set_aside(database: sqlite3.Connection, path: str) -> None:
    """Move the rows that make no sense into a table of their own. Raises: sqlite3.Error.

    Looked at are those that have not ended, the newest, and those that look wrong to SQLite, which takes 0.2 s for
    1,000,000. If another one that ended long ago makes no sense, who reads it is told. What is no text has surrogates
    where it is none.
    """
    wrong: list[tuple[sqlite3.Row, str]] = []
    factory, database.text_factory = database.text_factory, lambda raw: raw.decode(errors="surrogateescape")
    rows = database.execute(_SUSPECTS).fetchall()
    database.text_factory = factory
    for row in rows:
        try:
            storerows.check(row)
        except storerows.SENSELESS as error:
            wrong.append((row, f"{type(error).__name__}: {error}"[:200]))
    if not wrong:
        return
    database.execute("BEGIN IMMEDIATE")
    database.execute("CREATE TABLE IF NOT EXISTS set_aside (time REAL, reason TEXT, row TEXT)")
    for row, reason in wrong:
        database.execute("INSERT INTO set_aside VALUES (?, ?, ?)", (time.time(), reason, _shown(row)))
        database.execute("DELETE FROM request WHERE id = ?", (row["id"],))
    database.execute("COMMIT")
    for row, reason in wrong:
        log.critical("%s: request %d makes no sense, and is kept in the table set_aside: %s", path, row["id"], reason)
    lost = {str(value).encode(errors="replace") for row, _ in wrong if row["ended"] is None for value in tuple(row)}
    log.critical("%s: %s", path, _meaning(set(storesalvage.mentioned(b" ".join(lost)))))


def _shown(row: sqlite3.Row) -> str:
    return json.dumps(dict(row), default=repr)


def _is_text(head: bytes) -> bool:
    try:
        return "\0" not in _UTF_8().decode(head)
    except UnicodeDecodeError:
        return False


def _trouble(path: str) -> str:
    """Return what SQLite finds wrong with a database. Its log, which is whole, is taken over by that."""
    with closing(storefiles.connected(path)) as database:
        try:
            found = storesalvage.quick_check(database, LONGEST_CHECK)
        except TimeoutError:
            log.warning("%s: not all of it was looked at: that takes more than %.0f s", path, LONGEST_CHECK)
            found = ""
        if found:
            return found
        said = database.execute("PRAGMA user_version").fetchone()[0]
        if not storesalvage.has_requests(database):
            return "it does not know its tables any more" if said else ""
        version = storeschema.version_of(database)
        return "" if said == version else f"it says that it is of version {said}, and its tables are of {version}"


def _keep(main: Path, wal: Path) -> Path:
    """Copy the files of a store to names that say when; return the first of them."""
    kept = Path(storefiles.unused(f"{main}.damaged"))
    for source, target in ((wal, Path(f"{kept}-wal")), (main, kept)):
        with suppress(FileNotFoundError), source.open("rb") as file:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                os.fsync(descriptor)
    return kept


def _header_trouble(head: bytes) -> str:
    """Return what is wrong with a header that SQLite bears, but not for long."""
    mended = bytearray(head)
    storesalvage.mend_header(mended, head)
    mended[18:20] = head[18:20] if head[18:20] in (b"\x01\x01", b"\x02\x02") else b""
    fine = all(mended[start:end] == head[start:end] for start, end in ((16, 24), (44, 48), (56, 60)))
    fine = fine and int.from_bytes(head[60:64]) <= storesalvage.MOST_VERSIONS
    return "" if fine or not head else "its header is damaged"


def _put(image: bytes, main: Path) -> None:
    """Have a database in the place of the files of a store, all of it or nothing."""
    new = Path(f"{main}.anew")
    with new.open("wb") as file:
        os.fchmod(file.fileno(), main.stat().st_mode & 0o777)
        file.write(image)
        file.flush()
        os.fsync(file.fileno())
    for name in ("wal", "shm"):
        Path(f"{main}-{name}").unlink(missing_ok=True)
    new.replace(main)


def _meaning(lost: set[str]) -> str:
    if not lost:
        return "no request is known to be lost by that; if one is, ITS BOARD MAY BE OFF"
    named = sorted(lost)[:MOST_NAMED]
    more = f" and {len(lost) - len(named)} more" if len(lost) > len(named) else ""
    return f"requests may be lost by that, and THESE BOARDS MAY BE OFF: {', '.join(named)}{more}"
