# SPDX-License-Identifier: MIT
"""`Upkeep`: what is done for the file of a store behind the backs of those who write: checkpoints, and forgetting.

A checkpoint takes the log over into the database, and waits for the disk twice. It has a thread and a connection of
its own, so that a slow disk holds up nobody.

A log that has been taken over as a whole is begun anew by the next write, and SQLite has that one wait for the disk as
well. So while there is something to write, a second connection *pins* the log: it reads, which keeps SQLite from that.
When nothing is written for a while, the thread itself writes what changes nothing, and waits. Where writes never cease,
that is done past `LONGEST`, while nobody may write.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from pdudaemon.engine.storage import storeschema
from pdudaemon.errors import PDUDaemonError

log = logging.getLogger("pdud.store")

IDLE = 1.0  # seconds without a write, after which the log is taken over however short it is
MUCH = 1000  # pages that have been written, roughly, after which it is
LONGEST = 16_000  # pages in the log: 64 MB
PAUSE = 0.01  # seconds for others between two batches of what is forgotten
SHARE = 0.01  # of a processor that forgetting takes while others write
FAR_BEHIND = 100_000  # requests that nothing has been forgotten since, for which others must wait more


class Upkeep:
    """One thread, begun at the first write. ``lock`` is that of whoever writes.

    ``before`` is called before each checkpoint, and ``forget`` forgets a batch of what is too old and says how many
    requests have come since there was nothing left to do, 0 if there is not; both with the lock held, and may raise
    StoreError or sqlite3.Error.
    """

    def __init__(self, path: str, lock: threading.Lock, before: Callable[[], None], forget: Callable[[], int]) -> None:
        self._path = path
        self._lock = lock
        self._before = before
        self._forget = forget
        self._database: sqlite3.Connection | None = None
        self._pin: sqlite3.Connection | None = None
        self._using = threading.Lock()  # the connections; taken after the other lock, if both are
        self._written = 0  # pages, roughly, since the last checkpoint began
        self._woken = False  # since then
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = ""

    def use(self, *connections: sqlite3.Connection) -> None:
        """Use two connections from now on, or none; close those before, when a checkpoint has ended."""
        with self._using:
            before = self._database, self._pin
            self._database, self._pin = connections or (None, None)
            for database in before:
                if database is not None:
                    database.close()

    def wrote(self, pages: int, soon: bool = True) -> None:
        """Note that about so many pages were written to the log; not ``soon``: they may stay there. Lock held."""
        before = self._written
        self._written += pages
        due = before < MUCH <= self._written if self._woken else soon or self._written >= MUCH
        if not due or self._database is None or self._closing.is_set():
            return
        if self._thread is None:
            try:
                thread = threading.Thread(target=self._run, name="store", daemon=True)
                thread.start()
            except RuntimeError as error:  # the machine has none for us now, and is asked again
                self._tell(f"{self._path}: no thread for checkpoints: {error}")
                return
            self._thread = thread
        self._woken = True
        self._wake.set()

    def close(self, seconds: float) -> bool:
        """End the thread, which finishes what it does, and return whether it has ended within some seconds."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            seen: int | None = None
            while not self._closing.is_set() and self._written < MUCH and seen != self._written:
                seen = self._written
                self._wake.wait(IDLE)
            if self._closing.is_set():
                return
            self._turn()

    def _turn(self) -> None:
        try:
            self._checkpoint()
            self._forget_all()
            self._trouble = ""
        except (sqlite3.Error, PDUDaemonError) as error:
            self._tell(f"{self._path}: the log of the store cannot be taken over: {error}")

    def _forget_all(self) -> None:
        """Forget batch after batch, resting while others write: what is forgotten later is in nobody's way."""
        pause, seen = PAUSE, self._written
        while not self._closing.wait(pause):
            others, begun = self._written != seen, time.thread_time()
            with self._lock:
                behind = self._forget()
            if not behind:
                return
            took = time.thread_time() - begun
            if self._written >= MUCH:
                self._checkpoint()
            pause, seen = took / SHARE if others and behind < FAR_BEHIND else PAUSE, self._written

    def _checkpoint(self) -> None:
        """Take over what is in the log. It is begun anew if nothing comes meanwhile, or if it has become too long."""
        with self._lock:
            self._before()
            idle = self._written < MUCH
            self._written, self._woken = 0, False
            self._hold(True)
        pages = self._passed()
        if pages > LONGEST:
            self._passed()  # most of what came meanwhile
            with self._lock:
                self._begin_anew()
        elif pages and idle and not self._written:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Take over the rest of the log, and write what changes nothing, which begins it anew."""
        self._hold(False)
        self._passed()
        with self._using:
            if self._database is not None:
                storeschema.touch(self._database)
        self._hold(True)

    def _hold(self, pinned: bool) -> None:
        """Have the log stay as long as it is now, at least; or let it be begun anew."""
        with self._using:
            if self._pin is not None:
                if self._pin.in_transaction:
                    self._pin.execute("ROLLBACK")
                if pinned:
                    self._pin.execute("BEGIN")
                    self._pin.execute("SELECT 1 FROM request LIMIT 1").fetchone()

    def _passed(self) -> int:
        """Take over what is in the log by now, as far as nobody reads it; return how many pages that is."""
        with self._using:
            if self._database is None:
                return 0
            _, pages, _ = self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return int(pages)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble
