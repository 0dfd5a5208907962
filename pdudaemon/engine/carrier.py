# SPDX-License-Identifier: MIT
"""`Carrier`: one thread that carries the workers of those PDUs whose devices come back at once.

A thread for each PDU keeps a slow device from holding up the others. Where a device takes no time, as a line of GPIO
does, or a message to a broker, waking that thread costs several times what the work does. The workers of such PDUs are
carried: a thread that they share does a job of each in its turn, and then has what came of all of them written and told
in one go. A job that takes longer than `PATIENCE` after all keeps the thread for its PDU, and another one carries the
rest.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pdudaemon.engine import threads
from pdudaemon.engine.device import KEPT
from pdudaemon.engine.timetable import Timetable

PATIENCE = 0.01  # seconds after which a job keeps the thread
GATHER = 0.001  # seconds of work after which what came of it is told, though there is more to do
IDLE = 60.0  # seconds without work after which the thread ends

PROMPT = 0.001  # seconds: a device that took less came back at once
TRUST = 8  # actions in a row that did, after which a worker is carried; twice as many once that was a mistake
MOST_TRUST = 1024


class Promptness:
    """How often in a row a device has come back at once, more or less. Used by whichever thread has the device."""

    __slots__ = ("_seen", "_wanted")

    def __init__(self) -> None:
        self._seen, self._wanted = 0, TRUST

    @property
    def enough(self) -> bool:
        """Whether the worker can be carried."""
        return self._seen >= self._wanted

    def add(self, seconds: float) -> None:
        """Count an action. One that took longer takes away half, since the machine may have been busy."""
        self._seen = min(self._seen + 1, 2 * self._wanted) if seconds < PROMPT else self._seen // 2

    def forget(self) -> None:
        """Begin anew: an action has failed, or the device is another."""
        self._seen = 0

    def was_mistaken(self) -> None:
        """Begin anew, and want more of it."""
        self._seen, self._wanted = 0, min(2 * self._wanted, MOST_TRUST)


class Carried(Protocol):
    """What the carrier needs to know of a worker."""

    def turn(self) -> bool:
        """Do one job; return whether there is another."""

    def keep(self, thread: threading.Thread) -> None:
        """Have the thread that is at the job for good."""

    def serve(self) -> None:
        """Go on with the thread that was kept."""

    def rest(self) -> bool:
        """Let go of what is not in use any more; return whether that is all."""


class Carrier:
    """``hand_in`` has what came of jobs written and told. Any thread, but for what says who else."""

    def __init__(self, timetable: Timetable, hand_in: Callable[[], None]) -> None:
        self._timetable = timetable
        self._hand_in = hand_in
        self._changed = threading.Condition(threading.Lock())  # taken before a worker's own
        self._line: deque[Carried] = deque()
        self._thread: threading.Thread | None = None
        self._at: Carried | None = None  # whose job the thread is at
        self._since = 0.0  # when it began, in monotonic seconds
        self._untold = 0.0  # when the first job began of which nothing is told yet; 0: all is
        self._rested = 0.0  # when those that may have to let go of something were looked at
        self._restless: dict[Carried, None] = {}
        self._watched = False
        self._stopping = False

    def __str__(self) -> str:
        return "the thread of PDUs that come back at once" if self._at is None else str(self._at)

    @property
    def dead(self) -> bool:
        """Whether the thread has ended though nobody told it to."""
        return self._thread is not None and not self._thread.is_alive()

    def carry(self, worker: Carried) -> bool:
        """Have a job of a worker done when its turn comes; return False if there is no thread to be had now.

        Callers hold the dispatcher's lock.
        """
        with self._changed:
            busy = self._at is not None or bool(self._line)
            if self._thread is None and not self._begin():
                return False
            self._line.append(worker)
            if not busy:
                self._changed.notify()
        if busy and not self._watched:
            self._watch(PATIENCE)
        return True

    def ready(self) -> bool:
        """Return whether there is a thread, perhaps a new one."""
        with self._changed:
            return not self._stopping and (self._thread is not None or self._begin())

    def stop(self) -> None:
        """Let the thread end when nobody is in line any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; return whether it did."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def _begin(self) -> bool:
        self._thread = threads.started(self._run, "carrier", self)
        return self._thread is not None

    # Called by the thread.

    def _run(self) -> None:
        me = threading.current_thread()
        while (worker := self._next()) is not None:
            more = worker.turn()
            with self._changed:
                kept = self._thread is not me
                if not kept:
                    self._at = None
                    self._restless[worker] = None
                    if more:
                        self._line.append(worker)
            if kept:
                worker.serve()
                return

    def _next(self) -> Carried | None:
        """Return whose turn it is; None: nobody's, and the thread ends."""
        while True:
            now = time.monotonic()
            with self._changed:
                if self._line and not (self._untold and now - self._untold > GATHER):
                    self._at, self._since = self._line.popleft(), now
                    self._untold = self._untold or now
                    return self._at
                if not self._untold:  # nor is anybody in line
                    awaited = KEPT if self._restless else IDLE
                    if self._stopping or (not self._changed.wait(awaited) and not self._line and not self._restless):
                        self._thread = None
                        return None
            if self._untold:
                self._untold = 0.0
                self._hand_in()
            if self._restless and time.monotonic() - self._rested > KEPT:
                self._rested = time.monotonic()
                self._restless = {worker: None for worker in self._restless if not worker.rest()}

    # Called with the dispatcher's lock held, by the timetable but for the first.

    def _watch(self, seconds: float) -> None:
        """Look in some time whether what the thread is at holds up others, or what is to be told of them."""
        self._watched = True
        self._timetable.at(time.monotonic() + seconds, self._look)

    def _look(self) -> None:
        self._watched = False
        with self._changed:
            if self._at is not None and self._thread is not None and time.monotonic() - self._since >= PATIENCE:
                self._at.keep(self._thread)
                self._at, self._thread, self._untold = None, None, 0.0  # the timetable has told what there is to tell
            if self._thread is None and self._line and not self._begin():
                self._watch(threads.PAUSE)
            elif self._at is not None or self._line:
                self._watch(PATIENCE)
