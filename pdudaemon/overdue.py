# SPDX-License-Identifier: MIT
"""`Overdue`: which boxes are acting, and which of them have been at it for longer than they may.

A box has one entry in the timetable at the most, however many actions it goes through: when that comes up and the
action under way is a later one, the entry is made anew for that. Called with the dispatcher's lock held.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pdudaemon.pdurunner import Box
from pdudaemon.timetable import Timetable


class Overdue:
    """Calls ``stuck(box)`` when an action is not back in time."""

    def __init__(self, timetable: Timetable, stuck: Callable[[Box], None]) -> None:
        self._timetable = timetable
        self._stuck = stuck
        self._due: dict[Box, float] = {}  # monotonic seconds, of the boxes that act
        self._watched: set[Box] = set()

    @property
    def acting(self) -> bool:
        """Whether any box acts."""
        return bool(self._due)

    def begin(self, box: Box, seconds: float) -> None:
        """Note that a box acts from now on, and is to be back after so many seconds."""
        self._due[box] = time.monotonic() + seconds
        if box not in self._watched:
            self._watched.add(box)
            self._timetable.at(self._due[box], lambda: self._look(box))

    def end(self, box: Box) -> None:
        """Note that the action has come back."""
        self._due.pop(box, None)

    def _look(self, box: Box) -> None:
        due = self._due.get(box)
        if due is None:
            self._watched.discard(box)
        elif due > time.monotonic():
            self._timetable.at(due, lambda: self._look(box))
        else:
            self._watched.discard(box)
            self._stuck(box)
