# SPDX-License-Identifier: MIT
"""`Trail`: what an outlet or a PDU drew within the last hour, a value for each minute in which it was read."""

from __future__ import annotations

import math
from array import array

MINUTES = 60
_NONE = array("f", [math.nan] * MINUTES)


class Trail:
    """A ring of minutes, of some 350 bytes. One thread puts, any may look."""

    __slots__ = ("_last", "_watts")

    def __init__(self) -> None:
        self._watts = array("f", _NONE)
        self._last = 0  # the minute that was put last, since the epoch

    def put(self, when: float, watts: float) -> None:
        """Note what was drawn at a time, in seconds since the epoch; the last value of a minute counts."""
        minute = int(when // 60)
        if minute - self._last >= MINUTES or minute < self._last:  # long ago, or the clock was set back
            self._watts[:] = _NONE
        else:
            for between in range(self._last + 1, minute):
                self._watts[between % MINUTES] = math.nan
        self._watts[minute % MINUTES] = watts
        self._last = minute

    def points(self, now: float) -> list[tuple[int, float]]:
        """Return the time (the beginning of the minute) and the watts of each minute that is known, oldest first."""
        minute = int(now // 60)
        first = max(minute, self._last) - MINUTES + 1
        known = [(each, self._watts[each % MINUTES]) for each in range(first, self._last + 1)]
        return [(each * 60, round(watts, 2)) for each, watts in known if not math.isnan(watts)]
