# SPDX-License-Identifier: MIT
"""The store: requests accepted and not yet ended, and what became of the rest.

SQLite in WAL mode with ``synchronous=NORMAL``: a commit is a write to the log, which outlives the death of the
process. To outlive a power cut the log must reach the disk: `sync` does that, and holds up only who asks. All that
there is to write at a time is one statement: whenever SQLite runs, the interpreter's lock is given away, and under load
it takes longer to get that back than the write takes.

The dispatcher notes, with its lock held, how far its requests have come (`note`), and writes that down without it
(`flush`). New requests are committed in the order in which they are numbered, with all that has been noted before.

What each outlet was last told to be is a table of its own, which history has no part in: a trigger keeps it in the
commit that says so of the request, and it is read once, at the start.

A `Snapshot` is what a request is at one moment. It is taken with the dispatcher's lock held and made a row without it:
spelling takes longer than copying. What never changes is read from the request itself. How rows are read is in
`storerows`.

Methods may be called by any thread, but for those that say so, and raise StoreError. The open files are in `storeopen`;
log and history are kept short by a thread: see `storeupkeep`.
"""

from __future__ import annotations

import functools
import json
import logging
import sqlite3
import threading
import time
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain, starmap
from typing import Any, Literal, NamedTuple

from pdudaemon.engine.storage import storefiles, storehistory, storeschema, storesearch, storestart
from pdudaemon.engine.storage.storeopen import OpenStore
from pdudaemon.engine.storage.storerecords import CommandRecord
from pdudaemon.errors import PDUDaemonError
from pdudaemon.power import Command, Outcome, Outlet, Phase, Request, Soft, State

log = logging.getLogger("pdud.store")

MEMORY = storefiles.MEMORY
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)  # of statements, in rows
CHUNK = SIZES[-1]  # rows in one statement
LOOK_EVERY = 0.25  # seconds between two looks at whether the files are still there
TIDY_EVERY = 600.0  # seconds after which what has become too old is forgotten on an idle machine
_BATCH = 100  # requests that are forgotten at once

_FIXED = ("id", "action", "target", "all_outlets", "delay", "client", "accepted", "command", "names", "key")
_CHANGING = (
    "phase", "outlets", "started", "off_ended", "ended", "outcome", "reason", "kind", "boot",
    "accepted_uptime",
    "off_ended_uptime", "debts", "switched", "soft",
)  # fmt: skip
_COLUMNS = (*_FIXED, *_CHANGING)
ADD_COMMAND = "INSERT INTO command (id, action, client, accepted, names, key) VALUES (?, ?, ?, ?, ?, ?)"

_quoted = json.encoder.encode_basestring_ascii  # a tenth of what json.dumps takes

Values = list[str | float | int | None]


class Snapshot(NamedTuple):
    """How far a request has come, at one moment, by the names that a request itself has for it."""

    request: Request
    phase: Phase
    remaining: tuple[Outlet, ...]
    started: float | None
    off_ended: float | None
    ended: float | None
    outcome: Outcome | None
    error: PDUDaemonError | None
    boot: str
    accepted_uptime: float
    off_ended_uptime: float | None
    debts: tuple[Outlet, ...]
    switched: dict[Outlet, tuple[State, float]]
    soft: Soft | None


class Store:
    """One SQLite file, held by one daemon at a time. A file of the existing daemon keeps its own table."""

    def __init__(self, path: str, history: int = 10000, history_days: int = 0) -> None:
        self.path = path
        self.history, self.history_days = history, history_days
        self._lock = threading.Lock()  # the connection, and all that follows but for what is noted
        self._noting = threading.Lock()
        self.noted: dict[int, Snapshot] = {}  # by number; what is not committed yet
        self._tidied_upto = 0  # the number of the last request by which there was nothing to tidy
        self._tidied = -TIDY_EVERY  # when what is too old was looked for without a write, in monotonic seconds
        self._refused = False  # the last write
        self._forgetting = storehistory.History()
        self._open = OpenStore(path, self._lock, self._tidy)
        self.searches = self._open.searches
        database = self._open.database
        try:
            # The highest number that was given to a request, and to a command.
            self._last, self._last_command = storestart.last_numbers(database)
            self._told = storestart.told(database)
            behind = storesearch.behind(database)
        except sqlite3.Error as error:
            self._open.abandon()
            raise self._open.error(error) from None
        if behind:  # as in a store of an earlier version
            self._open.upkeep.wrote(1)

    def probe(self, thoroughly: bool) -> None:
        """Find out whether the store is well: by a write where ``thoroughly``, or if the last one was refused."""
        with self._lock:
            self._open.stay()
            self._commit([])
            if self.history_days and time.monotonic() > self._tidied + TIDY_EVERY:
                self._tidied = time.monotonic()
                self._open.upkeep.wrote(1)
            if thoroughly or self._refused:
                self._refused = True
                try:
                    storeschema.touch(self._open.database)
                except sqlite3.Error as error:
                    raise self._open.error(error) from None
                self._refused = False
                self._open.upkeep.wrote(1, soon=False)

    def add_all(self, requests: Sequence[Request], command: Command | None = None) -> None:
        """Commit new requests, and the command that they are, as one transaction; give them their numbers.

        Requests and commands are numbered apart. If it raises, nothing has happened. Of two requests or commands with
        the same key the later one is refused, and all that is committed with it: see `find_key` before.
        """
        with self._lock:
            number = None if command is None else self._last_command + 1
            first = self._last + 1
            rows = []
            for each, request in enumerate(requests, first):
                rows.append(values(request, request, each, number))
            self._commit(rows, None if command is None else command_values(command, self._last_command + 1))
            for each, request in enumerate(requests, first):
                request.id, request.command = each, number
            if command is not None:
                command.id = self._last_command = self._last_command + 1
            self._last = first + len(requests) - 1

    def note(self, request: Request) -> None:
        """Note what a request is now, for the next `flush`. The dispatcher's lock is held."""
        snapshot = Snapshot(
            request,
            request.phase,
            tuple(request.remaining),
            request.started,
            request.off_ended,
            request.ended,
            request.outcome,
            request.error,
            request.boot,
            request.accepted_uptime,
            request.off_ended_uptime,
            tuple(request.debts),
            request.switched.copy(),
            None if request.soft is None else request.soft.copy(),
        )
        with self._noting:
            self.noted[request.id] = snapshot

    def flush(self) -> None:
        """Commit all that is noted. What cannot be written stays noted, and comes before anything else is written."""
        with self._lock:
            self._commit([])

    def _commit(self, rows: list[Values], command: Values | None = None) -> None:
        """Commit what is noted, and then some rows, all or nothing; the lock is held."""
        with self._noting:
            noted = self.noted.copy()
        if not noted and not rows and command is None:
            return
        if self._open.trouble or self._open.disk.failed or time.monotonic() - self._open.looked > LOOK_EVERY:
            self._open.stay()
        every: list[Values] = []
        for number, each in noted.items():
            every.append(values(each.request, each, number, each.request.command))
        rows = every + rows
        self._refused = True
        try:
            self._write(rows, command)
        except UnicodeEncodeError:
            self._write([without_halves(row) for row in rows], command and without_halves(command))
        self._refused = False
        self._open.upkeep.wrote(2 + len(rows) // 4)
        with self._noting:
            for number, each in noted.items():
                if self.noted[number] is each:
                    del self.noted[number]

    def _write(self, rows: list[Values], command: Values | None) -> None:
        """Commit rows: those of a single statement are a transaction by themselves.

        The last row of a statement is repeated, which changes nothing, up to one of `SIZES`: SQLite keeps what it has
        compiled, and a statement for each number would take 16 MiB.
        """
        database = self._open.database
        try:
            if command is not None or len(rows) > CHUNK:
                database.execute("BEGIN IMMEDIATE")
            if command is not None:
                database.execute(ADD_COMMAND, command)
            for start in range(0, len(rows), CHUNK):
                some = rows[start : start + CHUNK]
                size = SIZES[bisect_left(SIZES, len(some))]
                database.execute(upsert(size), [*chain(*some, *some[-1:] * (size - len(some)))])
            if database.in_transaction:
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._open.error(error) from None
        finally:
            with suppress(sqlite3.Error):  # also where it is not open
                if database.in_transaction:
                    database.execute("ROLLBACK")

    def _tidy(self) -> int:
        """Forget a batch of what history has no room for, and have a batch of the rest found by its words.

        Return how many requests have come since there was no more to do, 0: there is not. The lock is held.
        """
        gone = self._forgetting.forget(self._open.database, self.history, self._forgotten_before(), _BATCH)
        entered = storesearch.enter(self._open.database)
        if gone or entered:
            self._open.upkeep.wrote(2 + (gone + entered) // 4, soon=bool(gone))
        if not (self._forgetting.more or entered == storesearch.BATCH):
            self._tidied_upto = self._last
            return 0
        return max(1, self._last - self._tidied_upto)

    def _forgotten_before(self) -> float:
        """Return when what has ended is too old, in seconds since the epoch."""
        return time.time() - self.history_days * 86400 if self.history_days else 0.0

    def live(self) -> list[Request]:
        """Return the requests that have not ended, in the order of acceptance."""
        try:
            with self._lock:
                return storestart.live(self._open.database)
        except sqlite3.Error as error:
            raise self._open.error(error) from None

    def record(self, number: int) -> dict[str, Any]:
        """Return one request as a record for people. Raises also: NoSuchRequest."""
        return self._open.records.record(number)

    def rows(self, most: int, before: int | None = None) -> list[sqlite3.Row]:
        """Return the newest requests, newest first, for `storerows.record_of`; ``before``: with lower numbers only."""
        return self._open.records.rows(most, before)

    def command(self, number: int) -> CommandRecord:
        """Return one command, with the rows of its requests. Raises also: NoSuchRequest."""
        return self._open.records.command(number)

    def request(self, number: int) -> Request:
        """Return one request as it is on record. Raises also: NoSuchRequest."""
        return self._open.records.request(number)

    def find_key(self, key: str) -> tuple[Literal["request", "command"], int] | None:
        """Return what was accepted with an idempotency key, and its number; None: nothing that is on record."""
        return self._open.records.find_key(key)

    def last_told(self, outlet: Outlet) -> tuple[State, float] | None:
        """Return what an outlet was last told to be and when; None if nothing is known of it.

        Unknown if the last try did not end well. A reboot between its halves has told it to be off.
        """
        return self._told.get(outlet)

    def all_told(self) -> Mapping[Outlet, tuple[State, float]]:
        """Return what all outlets were last told. Called before the start."""
        return self._told

    def switched(self, request: Request, outlet: Outlet, state: State, when: float) -> None:
        """Remember what a request has told an outlet to be, and when, which its next `note` takes along.

        The dispatcher's lock is held.
        """
        self._told[outlet] = request.switched[outlet] = state, when

    def sync(self) -> None:
        """Return when everything committed before the call would survive a power cut. All who wait share one."""
        self._open.sync()

    def close(self) -> None:
        """Close the file and let the next daemon have it, with all that was noted. Called once."""
        self._open.close(lambda: self._commit([]))


def values(request: Request, now: Snapshot | Request, number: int, command: int | None) -> Values:
    """Return the values of a row, for `upsert`: those of a request that has a number, in a command or in none.

    ``now`` is how far it has come: the request itself while nobody else knows it.
    """
    target = request.target
    if not target.spelled:
        target.spelled.append(_spelled(target.outlets))
    every, error = target.spelled[0], now.error
    return [
        number,
        request.action.value,
        target.name,
        every,
        request.delay,
        request.client,
        request.accepted,
        command,
        json.dumps(request.names) if request.names else "[]",
        request.key or None,
        now.phase.value,
        every if len(now.remaining) == len(target.outlets) else _spelled(now.remaining) if now.remaining else "[]",
        now.started,
        now.off_ended,
        now.ended,
        None if now.outcome is None else now.outcome.value,
        None if error is None else error.told,
        None if error is None else error.kind,
        now.boot,
        now.accepted_uptime,
        now.off_ended_uptime,
        _spelled(now.debts) if now.debts else "[]",
        f"[{', '.join(starmap(_spelled_told, now.switched.items()))}]" if now.switched else "[]",
        None if now.soft is None else _spelled_soft(now.soft),
    ]


@functools.cache
def upsert(rows: int) -> str:
    """Return the statement that adds so many rows, or writes down how far their requests have come since."""
    row = f"({', '.join('?' * len(_COLUMNS))})"
    change = ", ".join(f"{name}=excluded.{name}" for name in _CHANGING)
    return (
        f"INSERT INTO request ({', '.join(_COLUMNS)}) VALUES {', '.join([row] * rows)}"
        f" ON CONFLICT (id) DO UPDATE SET {change}"
    )


def command_values(command: Command, number: int) -> Values:
    """Return the values of a command's row, for `ADD_COMMAND`."""
    names = json.dumps(command.names)
    return [number, command.action.value, command.client, command.accepted, names, command.key or None]


def without_halves(row: Values) -> Values:
    """Return values that can be written: without half a character, in a name that a token has, say."""
    return [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in row]


def _spelled(outlets: Collection[Outlet]) -> str:
    """Return outlets as they are kept: a PDU and a port, and how that was given where the driver wants to know."""
    return f"[{', '.join(map(_spelled_one, outlets))}]"


def _spelled_one(outlet: Outlet) -> str:
    given = "" if outlet.given is None else f", {json.dumps(outlet.given)}"
    return f"[{_quoted(outlet.pdu)}, {_quoted(outlet.port)}{given}]"


def _spelled_told(outlet: Outlet, told: tuple[State, float]) -> str:
    state, when = told
    return f'[{_quoted(outlet.pdu)}, {_quoted(outlet.port)}, "{state.value}", {when!r}]'


def _spelled_soft(soft: Soft) -> str:
    asked = [[*outlet, *each] for outlet, each in soft.asked.items()]
    became = [[*outlet, said] for outlet, said in soft.became.items()]
    return json.dumps({"seconds": soft.seconds, "hard": soft.hard, "asked": asked, "became": became})
