# SPDX-License-Identifier: MIT
"""Whether the files of a store are whole, and the best that can be made of those that are not.

SQLite has no check sums in a database, and says nothing of what it leaves out of a damaged log. So a store is looked
at before it is opened. Nothing is thrown away: damaged files are kept beside it, rows that make no sense in a table of
their own. What may have been lost is said as loudly as can be: a board that waits in it stays off.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from pdudaemon.engine import walfile
from pdudaemon.engine.storefiles import unused

log = logging.getLogger("pdud.store")

MOST_NAMED = 50
MOST_GAPS = 100_000
MOST_VERSIONS = 1000
MOST_MISSING = 1 << 27

_MAGIC = b"SQLite format 3\0"
_PAGE_SIZE = 4096
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter: what SQLite says cites what is no text
_LEAF = 13  # the first byte of a page with rows
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_OUTLET = re.compile(rb"\[%b, %b(?=[],])" % (_TEXT, _TEXT))  # the beginning of one, as a row has it


Look = Callable[[sqlite3.Row], object]  # raises ValueError, TypeError or LookupError at a row that makes no sense


def made_whole(path: str, fresh: bytes, look: Look) -> bool:
    """Look at the files of a store that nobody has open, and mend them; return whether there is another file now.

    ``fresh`` is an empty store. Raises: OSError, sqlite3.Error, of what the machine does not allow.
    """
    main, wal = Path(path), Path(f"{path}-wal")
    with main.open("rb") as file:
        head = file.read(_PAGE_SIZE)
    if not _MAGIC.startswith(head[:16]) and _is_text(head):
        return False  # somebody else's file, put there by mistake: SQLite refuses it
    records = walfile.read(wal, int.from_bytes(head[16:18]) if head.startswith(_MAGIC) else _PAGE_SIZE)
    trouble = records.trouble()
    if not head and records.whole:
        trouble = trouble or "it is empty, and its log is not"
    if 0 < len(head) < 512:
        trouble = trouble or "it is cut short"
    trouble = trouble or _header_trouble(head) or _trouble(path)
    if not trouble:
        return False
    kept = _keep(main, wal)
    image, lost = _best(kept.read_bytes(), records, fresh, look)
    _put(image, main)
    log.critical("%s: the store is damaged: %s; it is kept as %s", path, trouble, kept)
    log.critical("%s: %s", path, _meaning(lost))
    return True


def set_aside(database: sqlite3.Connection, path: str, look: Look) -> None:
    """Move the rows that make no sense, at which ``look`` raises, into a table of their own. Raises: sqlite3.Error.

    What is no text has surrogates where it is none.
    """
    wrong: list[tuple[sqlite3.Row, str]] = []
    factory, database.text_factory = database.text_factory, lambda raw: raw.decode(errors="surrogateescape")
    rows = database.execute("SELECT * FROM request").fetchall()
    database.text_factory = factory
    for row in rows:
        try:
            look(row)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
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
    log.critical("%s: %s", path, _meaning(set(_mentioned(b" ".join(lost)))))


def _shown(row: sqlite3.Row) -> str:
    return json.dumps(dict(row), default=repr)


def _is_text(head: bytes) -> bool:
    try:
        return "\0" not in head[: -4 if len(head) == _PAGE_SIZE else None].decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 8  # cut through a character


def _trouble(path: str) -> str:
    """Return what SQLite finds wrong with a database. Its log, which is whole, is taken over by that."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        found = _check(database)
        if not found and database.execute("PRAGMA user_version").fetchone()[0] and not _has_requests(database):
            return "it does not know its tables any more"
        return found


def _check(database: sqlite3.Connection) -> str:
    try:
        found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return str(error)
        raise
    except UnicodeDecodeError:
        return "its tables have no names"
    return "" if found == "ok" else " ".join(found.split())


def _keep(main: Path, wal: Path) -> Path:
    """Copy the files of a store to names that say when; return the first of them."""
    kept = Path(unused(f"{main}.damaged"))
    for source, target in ((wal, Path(f"{kept}-wal")), (main, kept)):
        with suppress(FileNotFoundError), source.open("rb") as file:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                os.fsync(descriptor)
    return kept


def _best(database: bytes, records: walfile.Log, fresh: bytes, look: Look) -> tuple[bytes, set[str]]:
    """Return the best store that can be made of the two, and the outlets of which something may be lost."""
    whole = records.applied(database, records.whole)
    images = [whole]
    if records.lost:
        images += [
            records.applied(database, records.whole, damaged=True),
            records.applied(database, records.readable),
        ]
    images.append(bytearray(fresh[:_PAGE_SIZE]) + whole[_PAGE_SIZE:])  # where the first page is lost
    for image in images:
        _mend_header(image, fresh)
        with closing(_opened(image)) as found:
            if _has_requests(found) and not _check(found):
                return bytes(image), _missed(image, records)
    for image in images:
        with closing(_opened(image)) as found:
            if _has_requests(found):
                saved = _salvaged(found, bytes(image), look)
                return saved, set(_mentioned(bytes(image))) - set(_mentioned(saved)) | _missed(saved, records)
    return b"", set(_mentioned(bytes(whole))) | _missed(b"", records)


def _mend_header(image: bytearray, fresh: bytes) -> None:
    """Put right what is the same in each of our databases, and what follows from the length."""
    image.extend(bytes(max(0, 100 - len(image))))
    image[:16] = _MAGIC
    if int.from_bytes(image[16:18]) not in (512, 1024, 2048, 4096, 8192, 16384, 32768, 1):
        image[16:18] = _PAGE_SIZE.to_bytes(2)
    image[18:24] = b"\x01\x01\x00\x40\x20\x20"  # the ones: without a log
    if int.from_bytes(image[44:48]) > 4:
        image[44:48] = (4).to_bytes(4)
    if int.from_bytes(image[56:60]) > 3:
        image[56:60] = (1).to_bytes(4)
    if int.from_bytes(image[60:64]) > MOST_VERSIONS:
        image[60:64] = fresh[60:64]
    size = int.from_bytes(image[16:18]) if image[16] else _PAGE_SIZE
    missing = int.from_bytes(image[28:32]) * size - len(image)
    image.extend(bytes(missing if 0 < missing < MOST_MISSING else 0))  # was cut off
    image[28:32] = (len(image) // size).to_bytes(4)
    image[92:96] = image[24:28]  # so that this number is believed


def _header_trouble(head: bytes) -> str:
    """Return what is wrong with a header that SQLite bears, but not for long."""
    mended = bytearray(head)
    _mend_header(mended, head)
    mended[18:20] = head[18:20] if head[18:20] in (b"\x01\x01", b"\x02\x02") else b""
    fine = all(mended[start:end] == head[start:end] for start, end in ((16, 24), (44, 48), (56, 60)))
    fine = fine and int.from_bytes(head[60:64]) <= MOST_VERSIONS
    return "" if fine or len(head) < 100 else "its header is damaged"


def _opened(image: bytes | bytearray) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.deserialize(bytes(image))
    return database


def _has_requests(database: sqlite3.Connection) -> bool:
    try:
        database.execute("SELECT id, action, target, all_outlets, outlets, phase, accepted, ended FROM request LIMIT 0")
        return True
    except _UNREADABLE:
        return False


def _salvaged(damaged: sqlite3.Connection, image: bytes, look: Look) -> bytes:
    """Return a new database with the tables of a damaged one, and those of their rows that can be read."""
    damaged.text_factory = lambda raw: raw.decode(errors="replace")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as saved:
        saved.execute("BEGIN")
        schema = _schema(damaged)
        for name, text in schema:
            table = '"{}"'.format(name.replace('"', '""'))
            with suppress(*_UNREADABLE):
                saved.execute(text)
                if text.lstrip()[:12].upper() != "CREATE TABLE":
                    continue
                rows = _rows(damaged, table)
                for row in itertools.chain(rows, _strays(damaged, image, look)) if name == "request" else rows:
                    with suppress(*_UNREADABLE):
                        saved.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        with suppress(*_UNREADABLE):
            saved.execute(f"PRAGMA user_version={damaged.execute('PRAGMA user_version').fetchone()[0]}")
        saved.execute("COMMIT")
        return saved.serialize()


def _schema(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the names and definitions that can be read: of tables, and then of what belongs to them."""
    found: list[tuple[str, str]] = []
    with suppress(*_UNREADABLE):
        order = "ORDER BY type = 'table' DESC, type"
        for name, text in database.execute(f"SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL {order}"):
            if isinstance(name, str) and isinstance(text, str):
                found.append((name, text))
    return found


def _rows(damaged: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """Yield the rows that can be read: from either end of the table, and one by one between."""
    low, high = 0, 0
    for order in ("ASC", "DESC"):
        with suppress(*_UNREADABLE):
            for number, *row in damaged.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid {order}"):
                if order == "DESC" and number <= low:
                    return
                low, high = (number, high) if order == "ASC" else (low, number)
                yield tuple(row)
            return
    if not low and not high:  # it may have no such numbers
        with suppress(*_UNREADABLE):
            yield from damaged.execute(f"SELECT * FROM {table}")
    for number in range(low + 1, min(high or low + MOST_GAPS, low + MOST_GAPS)):
        with suppress(*_UNREADABLE):
            yield from damaged.execute(f"SELECT * FROM {table} WHERE rowid = ?", (number,))


def _strays(damaged: sqlite3.Connection, image: bytes, look: Look) -> Iterator[tuple[object, ...]]:
    """Yield the requests of every page that may hold some, whether or not there is still a way to it.

    Each page is read as if it were all of the table, which takes the place of that one's first.
    """
    size = int.from_bytes(image[16:18]) if image[16] else _PAGE_SIZE
    first = image[:size]
    (root,) = damaged.execute("SELECT rootpage FROM sqlite_master WHERE name='request'").fetchone()
    (last,) = damaged.execute("SELECT max(rootpage) FROM sqlite_master").fetchone()
    for start in range(size, len(image) - size + 1, size):
        if image[start] != _LEAF:
            continue
        small = bytearray(first + bytes(size * (last - 1)))
        small[(root - 1) * size : root * size] = image[start : start + size]
        _mend_header(small, image)
        with closing(_opened(small)) as one, suppress(*_UNREADABLE):
            one.row_factory = sqlite3.Row
            for row in one.execute("SELECT * FROM request"):
                with suppress(ValueError, TypeError, LookupError, RecursionError):
                    look(row)
                    yield tuple(row)


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


def _missed(image: bytes | bytearray, records: walfile.Log) -> set[str]:
    """Return the outlets in damaged frames of the log that the same page of an image has less often."""
    missed: Counter[str] = Counter()
    for frame in records.lost:
        end = frame.page * records.page_size
        missed |= Counter(_mentioned(frame.image)) - Counter(_mentioned(bytes(image[end - records.page_size : end])))
    return set(missed)


def _mentioned(text: bytes) -> Iterator[str]:
    """Yield the outlets that stand in what may be a row."""
    for found in _OUTLET.findall(text):
        with suppress(ValueError):
            pdu, port = json.loads(found + b"]")
            yield f"{pdu} port {port}"


def _meaning(lost: set[str]) -> str:
    if not lost:
        return "no request is known to be lost by that; if one is, ITS BOARD MAY BE OFF"
    named = sorted(lost)[:MOST_NAMED]
    more = f" and {len(lost) - len(named)} more" if len(lost) > len(named) else ""
    return f"requests may be lost by that, and THESE BOARDS MAY BE OFF: {', '.join(named)}{more}"
