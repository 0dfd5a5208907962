# SPDX-License-Identifier: MIT
"""What is to happen later: one heap, one thread, one condition on the dispatcher's lock.

A call made by the timetable runs with that lock held and must be short. An entry that is no longer wanted is
cancelled, and stays in the heap until its time comes, or until more than half of the heap is such: then it is made anew
without them, so that what is cancelled costs no room for as long as it was to wait.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("pdud.timetable")

FEW = 64  # cancelled entries that are not worth a new heap


@dataclass(eq=False)
class Entry:
    """A call to be made; None once it has been made, or is not wanted any more."""

    call: Callable[[], None] | None
    timetable: Timetable

    def cancel(self) -> None:
        """Make sure that the call is not made any more. Callers hold the dispatcher's lock."""
        if self.call is not None:
            self.call = None
            self.timetable.count_cancelled()


class Timetable:
    """Makes each call when its time has come, in order of time, then of entry."""

    def __init__(self, lock: Any) -> None:
        self._condition = threading.Condition(lock)
        self._heap: list[tuple[float, int, Entry]] = []  # by monotonic seconds, then by number
        self._cancelled = 0  # how many of the heap are
        self._numbers = itertools.count()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="timetable", daemon=True)

    def __str__(self) -> str:
        return "the timetable"

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def at(self, when: float, call: Callable[[], None]) -> Entry:
        """Enter a call for a point in monotonic time. Callers hold the dispatcher's lock."""
        entry = Entry(call, self)
        heapq.heappush(self._heap, (when, next(self._numbers), entry))
        if self._heap[0][2] is entry:
            self._condition.notify()
        return entry

    def count_cancelled(self) -> None:
        """Take note that one more entry of the heap is cancelled. Callers hold the dispatcher's lock."""
        self._cancelled += 1
        if self._cancelled > max(FEW, len(self._heap) // 2):
            self._heap = [each for each in self._heap if each[2].call is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    @property
    def turning(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Make no further call. Callers hold the dispatcher's lock."""
        self._stopping = True
        self._condition.notify()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; return whether it did. Callers do not hold the lock."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with self._condition:
            while not self._stopping:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is None or wait > 0:
                    self._condition.wait(wait)
                    continue
                entry = heapq.heappop(self._heap)[2]
                call, entry.call = entry.call, None
                if call is None:
                    self._cancelled -= 1
                    continue
                try:
                    call()
                except Exception:  # this thread serves every PDU: no fault of one entry may end it
                    log.exception("a call of the timetable failed")
