# SPDX-License-Identifier: MIT
"""`Carrier`: the workers of PDUs whose devices come back at once do without a thread of their own.

A thread for each PDU keeps a slow device from holding up the others. Where a device takes no time, as a line of GPIO
does, or a message to a broker, that thread costs several times what the work does: only one thread of a Python program
runs at a time, and who goes on on another processor finds nothing in its caches. So the workers of such PDUs are
carried: the thread that serves the clients does a job of each when it has taken in what those have sent, and then has
what came of all of them written and told in one go. If a job takes longer than `PATIENCE` after all, its PDU keeps the
thread, and another one serves the clients.
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
SLICE = 0.004  # seconds of work after which it is the clients' turn, though there is more to do
WATCHED = 1.0  # seconds after the last job for which the thread is looked after: to begin with that costs a wake-up

PROMPT = 0.001  # seconds: a device that took less came back at once
TRUST = 8  # actions in a row that did, after which a worker is carried; twice as many once that was a mistake
MOST_TRUST = 1024


class Promptness:
    """How often in a row a device has come back at once, more or less. Used by whichever thread has the device.

    ``enough``: the worker can be carried.
    """

    __slots__ = ("_seen", "_wanted", "enough")

    def __init__(self) -> None:
        self._seen, self._wanted, self.enough = 0, TRUST, False

    def add(self, seconds: float) -> None:
        """Count an action. One that took longer takes away half, since the machine may have been busy."""
        self._seen = min(self._seen + 1, 2 * self._wanted) if seconds < PROMPT else self._seen // 2
        self.enough = self._seen >= self._wanted

    def forget(self) -> None:
        """Begin anew: an action has failed, or the device is another."""
        self._seen, self.enough = 0, False

    def was_mistaken(self) -> None:
        """Begin anew, and want more of it."""
        self._wanted = min(2 * self._wanted, MOST_TRUST)
        self.forget()


class Leader(Protocol):
    """Who has a thread that calls `Carrier.work` whenever it is woken."""

    def wake(self) -> None:
        """Have the thread do so soon. Any thread."""

    def succeed(self) -> threading.Thread | None:
        """Go on with another thread, as the one at a job will not come back; None: there is none to be had."""

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Make a call at a point in monotonic time. Called by the thread itself."""


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
    """Any thread, but for what says who else. Without a ``leader``, who may be replaced, nobody is carried.

    ``lead`` has what is to be written and told be so: see `Waiting`.
    """

    def __init__(self, timetable: Timetable, lead: Callable[[], None]) -> None:
        self._timetable = timetable
        self._lead = lead
        self.leader: Leader | None = None
        self._line: deque[Carried] = deque()
        self._lock = threading.Lock()  # of the end of a job, and of its taking too long; before a worker's own
        self._thread: threading.Thread | None = None  # that calls `work`
        self._at: Carried | None = None  # whose job it is at
        self._since: float  # when it began, in monotonic seconds
        self._restless: dict[Carried, None] = {}
        self._watched = False

    def __str__(self) -> str:
        return str(self.leader)

    @property
    def dead(self) -> bool:
        """Whether the thread has ended though nobody told it to."""
        return self.leader is not None and self._thread is not None and not self._thread.is_alive()

    def carry(self, worker: Carried) -> bool:
        """Have a job of a worker done when its turn comes; return False if nobody is carried.

        Callers hold the dispatcher's lock.
        """
        leader = self.leader
        if leader is None:
            return False
        self._line.append(worker)
        if not self._watched:
            self._watch(PATIENCE)
        if threading.current_thread() is not self._thread:
            leader.wake()
        return True

    # Called by the leader's thread.

    def work(self) -> Callable[[], None] | None:
        """Do what is in line, for a while, and have what there is written and told.

        Return what the thread is to do instead from now on, if a job took its time: another leads in its place.
        """
        me = self._thread = threading.current_thread()
        begun = time.monotonic()
        for _ in range(len(self._line)):
            worker, self._since = self._line.popleft(), time.monotonic()
            self._at = worker
            more = worker.turn()
            with self._lock:
                if self._thread is not me:
                    return worker.serve
                self._at = None
            if more:
                self._line.append(worker)
            if not self._restless:
                self._rest_later()
            self._restless[worker] = None
            if self._since - begun >= SLICE:
                break
        if self._line and self.leader is not None:
            self.leader.wake()
        self._lead()
        return None

    def _rest_later(self) -> None:
        if self.leader is not None:
            self.leader.at(time.monotonic() + KEPT, self._rest)

    def _rest(self) -> None:
        self._restless = {worker: None for worker in self._restless if not worker.rest()}
        if self._restless:
            self._rest_later()

    # Called with the dispatcher's lock held, by the timetable but for the first.

    def _watch(self, seconds: float) -> None:
        """Look in some time whether what the thread is at holds up others."""
        self._watched = True
        self._timetable.at(time.monotonic() + seconds, self._look)

    def _look(self) -> None:
        self._watched = False
        now = time.monotonic()
        with self._lock:
            worker, before = self._at, self._thread
            if worker is not None and self.leader is not None and now - self._since >= PATIENCE:
                assert before is not None, "it is at the job"
                self._at = None  # and only then begin another thread, which may be at a job at once
                thread = self.leader.succeed()
                if thread is None:
                    self._at = worker
                    self._watch(threads.PAUSE)
                    return
                worker.keep(before)
                self._thread = thread
        if self._line or now - self._since < WATCHED:
            self._watch(PATIENCE)
