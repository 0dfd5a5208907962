# SPDX-License-Identifier: MIT
"""The best that can be made of a damaged store: rows that can be read, wherever they are, and what may be lost.

All of it works on images of databases in memory; the files are seen to by `storecheck`.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

from pdudaemon.engine.storage import storerows, storeschema, storesearch, walfile

MOST_GAPS = 100_000
MOST_VERSIONS = 1000
MOST_MISSING = 1 << 27

MAGIC = b"SQLite format 3\0"
PAGE_SIZE = 4096
_SIZES = {(1 << bits & 0xFFFF or 1).to_bytes(2): 1 << bits for bits in range(9, 17)}  # as a header has them
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter: what SQLite says cites what is no text
_LEAF = 13  # the first byte of a page with rows
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_OUTLET = re.compile(rb"\[%b, %b(?=[],])" % (_TEXT, _TEXT))  # the beginning of one, as a row has it
_STEPS = 10_000  # of SQLite, between two looks at the clock


def best(database: bytes, records: walfile.Log) -> tuple[bytes, set[str]]:
    """Return the best store that can be made of the two, and the outlets of which something may be lost."""
    fresh = storeschema.fresh()
    whole = records.applied(database, records.whole)
    images = [whole]
    if records.lost:
        images += [
            records.applied(database, records.whole, damaged=True),
            records.applied(database, records.readable),
        ]
    images.append(bytearray(fresh[:PAGE_SIZE]) + whole[PAGE_SIZE:])  # where the first page is lost
    for image in images:
        mend_header(image, fresh)
        with closing(_opened(image)) as found:
            if has_requests(found) and not quick_check(found):
                image[60:64] = storeschema.version_of(found).to_bytes(4)
                return bytes(image), _missed(image, records)
    for image in images:
        with closing(_opened(image)) as found:
            if has_requests(found):
                saved = _salvaged(found, bytes(image))
                return saved, set(mentioned(bytes(image))) - set(mentioned(saved)) | _missed(saved, records)
    return b"", set(mentioned(bytes(whole))) | _missed(b"", records)


def mend_header(image: bytearray, fresh: bytes) -> None:
    """Put right what is the same in each of our databases, and what follows from the length."""
    image.extend(bytes(max(0, 100 - len(image))))
    image[:16] = MAGIC
    if bytes(image[16:18]) not in _SIZES:
        image[16:18] = PAGE_SIZE.to_bytes(2)
    image[18:24] = b"\x01\x01\x00\x40\x20\x20"  # the ones: without a log
    if int.from_bytes(image[44:48]) > 4:
        image[44:48] = (4).to_bytes(4)
    if int.from_bytes(image[56:60]) > 3:
        image[56:60] = (1).to_bytes(4)
    if int.from_bytes(image[60:64]) > MOST_VERSIONS:
        image[60:64] = fresh[60:64]
    size = page_size(image)
    missing = int.from_bytes(image[28:32]) * size - len(image)
    image.extend(bytes(missing if 0 < missing < MOST_MISSING else 0))  # was cut off
    image[28:32] = (len(image) // size).to_bytes(4)
    image[92:96] = image[24:28]  # so that this number is believed


def page_size(image: bytes | bytearray) -> int:
    """Return the size of pages that a header tells, or that of ours where it tells none."""
    return _SIZES.get(bytes(image[16:18]), PAGE_SIZE) if image.startswith(MAGIC) else PAGE_SIZE


def quick_check(database: sqlite3.Connection, seconds: float = float("inf")) -> str:
    """Return what SQLite finds wrong with a database, as far as it comes within some seconds.

    Raises: sqlite3.Error, of what the machine does not allow; TimeoutError, if nothing was found so far.
    """
    until = time.monotonic() + seconds
    database.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        kind = error.sqlite_errorcode & 0xFF
        if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return str(error)
        if kind == sqlite3.SQLITE_INTERRUPT:
            raise TimeoutError from None
        raise
    except UnicodeDecodeError:
        return "its tables have no names"
    finally:
        database.set_progress_handler(None, 0)
    return "" if found == "ok" else " ".join(found.split())


def _opened(image: bytes | bytearray) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.deserialize(bytes(image))
    return database


def has_requests(database: sqlite3.Connection) -> bool:
    try:
        database.execute("SELECT id, action, target, all_outlets, outlets, phase, accepted, ended FROM request LIMIT 0")
        return True
    except _UNREADABLE:
        return False


def _salvaged(damaged: sqlite3.Connection, image: bytes) -> bytes:
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
                for row in itertools.chain(rows, _strays(damaged, image)) if name == "request" else rows:
                    with suppress(*_UNREADABLE):
                        saved.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        with suppress(*_UNREADABLE):
            saved.execute(f"PRAGMA user_version={storeschema.version_of(damaged)}")
        saved.execute("COMMIT")
        with suppress(*_UNREADABLE):  # words of what is not there any more, or none of what is
            saved.executescript(storesearch.EMPTY)
        return saved.serialize()


def _schema(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the names and definitions that can be read: of tables, and then of what belongs to them."""
    found: list[tuple[str, str]] = []
    with suppress(*_UNREADABLE):
        order = "ORDER BY type = 'table' DESC, type"
        for each in database.execute(f"SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL {order}"):
            found.append(each)
    return found


def _rows(damaged: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """Yield the rows that can be read: from either end of the table, and one by one between."""
    try:
        damaged.execute(f"SELECT rowid FROM {table} LIMIT 0")
    except _UNREADABLE:  # it has no such numbers
        with suppress(*_UNREADABLE):
            yield from damaged.execute(f"SELECT * FROM {table}")
        return
    low, high = 0, 0
    for order in ("ASC", "DESC"):
        with suppress(*_UNREADABLE):
            for number, *row in damaged.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid {order}"):
                low, high = (number, high) if order == "ASC" else (low, number)
                yield tuple(row)
            return
    if not low and not high:
        somewhere = _readable(damaged, table)
        if somewhere is None:
            return
        low = max(0, somewhere - MOST_GAPS // 2)
    for number in range(low + 1, min(high or low + MOST_GAPS, low + MOST_GAPS)):
        with suppress(*_UNREADABLE):
            yield from damaged.execute(f"SELECT * FROM {table} WHERE rowid = ?", (number,))


def _readable(damaged: sqlite3.Connection, table: str) -> int | None:
    """Return the number of a row that can be read, of a table neither end of which can; None if none is found.

    Tried are some numbers of each magnitude: of a table whose first page is lost nothing is readable, by any of them.
    """
    for number in sorted({int(2 ** (step / 16)) for step in range(16 * 40)}):
        with suppress(*_UNREADABLE):
            for (found,) in damaged.execute(f"SELECT rowid FROM {table} WHERE rowid >= ? LIMIT 1", (number,)):
                return int(found)
    return None


def _strays(damaged: sqlite3.Connection, image: bytes) -> Iterator[tuple[object, ...]]:
    """Yield the requests of every page that may hold some, whether or not there is still a way to it.

    Each page is read as if it were all of the table, which takes the place of that one's first.
    """
    size = page_size(image)
    first = image[:size]
    (root,) = damaged.execute("SELECT rootpage FROM sqlite_master WHERE name='request'").fetchone()
    (last,) = damaged.execute("SELECT max(rootpage) FROM sqlite_master").fetchone()
    for start in range(size, len(image) - size + 1, size):
        if image[start] != _LEAF:
            continue
        small = bytearray(first)
        small[28:32] = last.to_bytes(4)  # no more than there has to be, since this is done for each page
        mend_header(small, image)
        small[(root - 1) * size : root * size] = image[start : start + size]
        with closing(_opened(small)) as one, suppress(*_UNREADABLE):
            one.row_factory = sqlite3.Row
            for row in one.execute("SELECT * FROM request"):
                with suppress(*storerows.SENSELESS):
                    storerows.check(row)
                    yield tuple(row)


def _missed(image: bytes | bytearray, records: walfile.Log) -> set[str]:
    """Return the outlets in damaged frames of the log that the same page of an image has less often."""
    missed: Counter[str] = Counter()
    for frame in records.lost:
        end = frame.page * records.page_size
        missed |= Counter(mentioned(frame.image)) - Counter(mentioned(bytes(image[end - records.page_size : end])))
    return set(missed)


def mentioned(text: bytes) -> Iterator[str]:
    """Yield the outlets that stand in what may be a row."""
    for found in _OUTLET.findall(text):
        with suppress(ValueError):
            pdu, port = json.loads(found + b"]")
            yield f"{pdu} port {port}"
