# SPDX-License-Identifier: MIT
"""Search: requests of the store by what they were about, fast however long the history is.

A request is found by its *words*: PDUs, outlets, nodes, the client's address and name, the action. Which request has
which word is a table of its own (``mention``), and when the requests of a stretch of numbers were accepted another
(``span``). Neither is written when a request is accepted, which would cost half as much again: the thread that keeps
the store short fills them in behind the newest requests, a batch at a time, and those of an older store as well. What
it has not come to yet is looked through row by row.

Both tables are made of what is in ``request`` alone, and could be emptied at any time.
"""

from __future__ import annotations

import functools
import heapq
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pdudaemon.engine.storage import storerows
from pdudaemon.engine.storage.storerecords import Reader
from pdudaemon.power import Outcome

SCHEMA = """
CREATE TABLE mention (word TEXT NOT NULL, request INTEGER NOT NULL, PRIMARY KEY (word, request)) WITHOUT ROWID;
CREATE TABLE span (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, oldest REAL NOT NULL, newest REAL NOT NULL);
CREATE INDEX request_not_done ON request (outcome) WHERE outcome <> 'done';
"""
EMPTY = "DELETE FROM mention; DELETE FROM span;"

BATCH = 100  # requests that are entered at once, with the store's lock held: some 2 ms
LONGEST_SPAN = 256
CHUNK = 500  # rows that are looked through at once
_KINDS = "onpca"  # of words, those that few requests have in common first
_UPTO = "SELECT last FROM span ORDER BY first DESC LIMIT 1"

_NOT_DONE = "request.outcome <> 'done'"  # which says that the index may be used
_BY_WORD = "mention CROSS JOIN request ON request.id = mention.request"

Row = Mapping[str, Any] | sqlite3.Row


def pdu(name: str) -> str:
    """Return the word of a PDU."""
    return f"p{name}"


def outlet(name: str, port: str) -> str:
    """Return the word of an outlet."""
    return f"o{name}\0{port}"


def node(name: str) -> str:
    """Return the word of a node."""
    return f"n{name}"


def client(name: str) -> str:
    """Return the word of a client's address, or of the name in its token."""
    return f"c{name}"


def action(name: str) -> str:
    """Return the word of an action."""
    return f"a{name}"


@dataclass(frozen=True)
class Search:
    """What is looked for. ``words``: one of each tuple. ``states``: how it ended or stands, None: however.

    ``since`` and ``until`` bound when it was accepted, in seconds since the epoch, and ``before`` its number.
    """

    words: tuple[tuple[str, ...], ...] = ()
    states: frozenset[str] | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None

    @property
    def outcomes(self) -> list[str]:
        """The states that are ends."""
        return sorted(each.value for each in Outcome if self.states is None or each in self.states)

    @property
    def unended(self) -> bool:
        """Whether requests that have not ended are looked for."""
        return self.states is None or len(self.outcomes) < len(self.states)

    def stands(self, state: str) -> bool:
        """Whether a state, be it one of those of live requests, is looked for."""
        return self.states is None or state in self.states

    def matches(self, row: Row) -> bool:
        """Whether a row is of those; how one that has not ended stands is for others to know."""
        if self.states is not None and not (self.unended if row["ended"] is None else row["outcome"] in self.states):
            return False
        when = row["accepted"]
        if self.since is not None or self.until is not None:
            if not isinstance(when, int | float):
                return False
            if when < (self.since or 0.0) or (self.until is not None and when >= self.until):
                return False
        has = words_of(row) if self.words else frozenset()
        return all(not has.isdisjoint(each) for each in self.words)


EVERYTHING = Search()


def nodes_of(names: Iterable[str], target: str) -> Iterator[str]:
    """Yield the nodes that a request named: those of its command, or the one that its target is called by."""
    yield from names
    if " (" in target:  # with its feeds
        yield target.partition(" (")[0]
    elif " " not in target:  # it is its own PDU
        yield target


def words_of(row: Row) -> frozenset[str]:
    """Return the words that a request is found by, as far as its row makes sense."""
    named = _words_of_target(row["all_outlets"], row["names"], str(row["target"]))
    place, _, name = str(row["client"]).partition(" (")
    found = {*named, action(str(row["action"])), client(place.rpartition(":")[0].strip("[]") or place)}
    if name:
        found.add(client(name.removesuffix(")")))
    return frozenset(word.encode("utf-8", "replace").decode() for word in found)


@functools.lru_cache(1024)
def _words_of_target(outlets: Any, names: Any, target: str) -> frozenset[str]:
    """Return the words of what was switched: of the same things again and again."""
    found: set[str] = set()
    try:
        for each in storerows.outlets_of(outlets):
            found |= {pdu(each.pdu), outlet(each.pdu, each.port)}
        found.update(map(node, nodes_of(storerows.names_in(names), target)))
    except storerows.SENSELESS:
        pass
    return frozenset(found)


def enter(database: sqlite3.Connection) -> int:
    """Enter the words of the next requests; return how many there were. The store's lock is held.

    Raises: sqlite3.Error; nothing has been entered then.
    """
    (upto,) = database.execute(_UPTO).fetchone() or (0,)
    rows = database.execute("SELECT * FROM request WHERE id > ? ORDER BY id LIMIT ?", (upto, BATCH)).fetchall()
    if not rows:
        return 0
    times = [row["accepted"] for row in rows if isinstance(row["accepted"], int | float)] or [0.0]
    first, last, oldest, newest = rows[0]["id"], rows[-1]["id"], min(times), max(times)
    database.execute("BEGIN IMMEDIATE")
    try:
        database.executemany(
            "INSERT OR IGNORE INTO mention VALUES (?, ?)", [(word, row["id"]) for row in rows for word in words_of(row)]
        )
        extended = database.execute(
            "UPDATE span SET last = ?1, oldest = min(oldest, ?2), newest = max(newest, ?3)"
            " WHERE first = (SELECT max(first) FROM span) AND ?1 - first < ?4",
            (last, oldest, newest, LONGEST_SPAN),
        )
        if not extended.rowcount:
            database.execute("INSERT INTO span VALUES (?, ?, ?, ?)", (first, last, oldest, newest))
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
    return len(rows)


def behind(database: sqlite3.Connection) -> bool:
    """Whether there are requests whose words have not been entered. Raises: sqlite3.Error."""
    (upto,) = database.execute(_UPTO).fetchone() or (0,)
    return database.execute("SELECT 1 FROM request WHERE id > ?", (upto,)).fetchone() is not None


def remove(database: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Remove the words of requests that are being forgotten, within their transaction. Raises: sqlite3.Error."""
    mentions = [(word, row["id"]) for row in rows for word in words_of(row)]
    database.executemany("DELETE FROM mention WHERE word = ? AND request = ?", mentions)
    database.execute("DELETE FROM span WHERE last < (SELECT min(id) FROM request)")


class Searches(Reader):
    """Searches a store through a connection of its own, since one may take longer than anybody may be held up by.

    Any thread, without the dispatcher's lock; methods raise StoreError.
    """

    def found(self, search: Search, live: Collection[int]) -> Iterator[sqlite3.Row]:
        """Yield the requests that are looked for, the newest first. ``live``: the numbers of those not ended."""
        (upto,) = next(iter(self._read(_UPTO)), (0,))
        yield from self._looked_through(search, upto)
        below = upto + 1 if search.before is None else min(search.before, upto + 1)
        low, high = 0, below
        if search.since is not None or search.until is not None:
            low, high = self._stretch(search)
            high = min(high + 1, below)
        if low < high:
            yield from self._entered(search, live, low, high)

    def _looked_through(self, search: Search, upto: int) -> Iterator[sqlite3.Row]:
        """Yield those that have not been entered."""
        below = search.before
        while True:
            bounds, values = ("", [upto]) if below is None else ("AND id < ?", [upto, below])
            rows = self._read(f"SELECT * FROM request WHERE id > ? {bounds} ORDER BY id DESC LIMIT {CHUNK}", *values)
            yield from filter(search.matches, rows)
            if len(rows) < CHUNK:
                return
            below = rows[-1]["id"]

    def _stretch(self, search: Search) -> tuple[int, int]:
        """Return the lowest and the highest number between which all are that were accepted in the time given."""
        since = float("-inf") if search.since is None else search.since
        until = float("inf") if search.until is None else search.until
        statement = "SELECT ifnull(min(first), 0), ifnull(max(last), -1) FROM span WHERE newest >= ? AND oldest < ?"
        ((low, high),) = self._read(statement, since, until)
        return low, high

    def _entered(self, search: Search, live: Collection[int], low: int, high: int) -> Iterator[sqlite3.Row]:
        """Yield those that have been entered, from ``low`` to below ``high``."""
        words = sorted(search.words, key=lambda each: min(_KINDS.index(word[:1]) for word in each))
        by_state = search.states is not None and Outcome.DONE not in search.states
        by_word = bool(words) and not (by_state and (not search.outcomes or words[0][0][0] not in "onp"))
        rest, values = _also(search, words[1:] if by_word else words)
        if by_word:
            sources = [self._walk(_BY_WORD, f"mention.word = ?{rest}", (each, *values), low, high) for each in words[0]]
        elif by_state:
            ends = [f"{_NOT_DONE} AND request.outcome = '{each}'{rest}" for each in search.outcomes]
            sources = [self._walk("request", each, values, low, high) for each in ends]
            sources.append(self._numbered(live if search.unended else (), low, high))
        else:
            sources = [self._walk("request", f"1{rest}", values, low, high)]
        last = None
        for row in heapq.merge(*sources, key=lambda row: row["id"], reverse=True):
            if row["id"] != last and search.matches(row):
                last = row["id"]
                yield row

    def _walk(self, tables: str, where: str, values: Sequence[Any], low: int, high: int) -> Iterator[sqlite3.Row]:
        """Yield requests by an index, from high numbers to low ones, ever more of them at a time."""
        number = "mention.request" if tables == _BY_WORD else "request.id"
        bounds = f"{number} >= ? AND {number} < ? ORDER BY {number} DESC LIMIT ?"
        most = 50
        while True:
            rows = self._read(f"SELECT request.* FROM {tables} WHERE {where} AND {bounds}", *values, low, high, most)
            yield from rows
            if len(rows) < most:
                return
            high, most = rows[-1]["id"], min(2 * most, 20 * CHUNK)

    def _numbered(self, numbers: Collection[int], low: int, high: int) -> Iterator[sqlite3.Row]:
        wanted = sorted((each for each in numbers if low <= each < high), reverse=True)
        for place in range(0, len(wanted), CHUNK):
            statement = "SELECT * FROM request WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC"
            yield from self._read(statement, json.dumps(wanted[place : place + CHUNK]))


def _also(search: Search, words: Iterable[tuple[str, ...]]) -> tuple[str, list[Any]]:
    """Return what else a statement may ask of requests that have been entered, so that fewer are looked at."""
    conditions = ""
    values: list[Any] = []
    for each in words:
        marks = ", ".join("?" * len(each))
        conditions += f" AND EXISTS (SELECT 1 FROM mention AS m WHERE m.request = request.id AND m.word IN ({marks}))"
        values += each
    if search.states is not None:
        marks = ", ".join("?" * len(search.outcomes))
        unended = " OR request.ended IS NULL" if search.unended else ""
        conditions += f" AND ((request.ended IS NOT NULL AND request.outcome IN ({marks})){unended})"
        values += search.outcomes
    for bound, sign in ((search.since, ">="), (search.until, "<")):
        if bound is not None:
            conditions += f" AND request.accepted {sign} ?"
            values.append(bound)
    return conditions, values
