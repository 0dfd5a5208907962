# SPDX-License-Identifier: MIT
"""`Refusals`: who is refused again and again is told slower, and the log of it once a minute instead of each time.

By address, in a table with an end; called by the selector's thread only, but for the last word.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("pdud.listener")

MINUTE = 60.0
MOST = 1000  # addresses that are remembered, those for which it is longest ago forgotten first
FREE = 10  # refusals in a minute that are told at once
PAUSE = 1.0  # seconds by which others are put off


@dataclass
class _Trouble:
    """That of one address in the present minute: how much of it there was, and what the log has not been told."""

    since: float
    count: int = 0
    untold: int = 0
    last: str = ""


class Refusals:
    """``at`` makes a call at a point in monotonic time."""

    def __init__(self, at: Callable[[float, Callable[[], None]], None]) -> None:
        self._at = at
        self._table: OrderedDict[str, _Trouble] = OrderedDict()
        self._timed = False

    def note(self, address: str, text: str) -> float:
        """Note that somebody is refused, for the log or ``text`` at once; return for how many seconds to put it off."""
        now = time.monotonic()
        found = self._table.get(address)
        if found is None or now - found.since >= MINUTE:
            if found is not None:
                self._tell(address, self._table.pop(address))
            if len(self._table) >= MOST:
                self._tell(*self._table.popitem(last=False))
            found = self._table[address] = _Trouble(now)
        found.count += 1
        if found.count == 1:
            log.warning("%s", text)
        else:
            found.untold += 1
            found.last = text
            if not self._timed:
                self._timed = True
                self._at(now + MINUTE, self._sweep)
        return PAUSE if found.count > FREE else 0.0

    def close(self) -> None:
        """Tell what has not been told. Called when the selector's thread has ended."""
        for address, found in self._table.items():
            self._tell(address, found)

    def _sweep(self) -> None:
        """Tell what has not been told, and forget whose minute is over."""
        self._timed = False
        now = time.monotonic()
        for address, found in [*self._table.items()]:
            self._tell(address, found)
            if now - found.since >= MINUTE:
                del self._table[address]

    def _tell(self, address: str, found: _Trouble) -> None:
        if found.untold:
            log.warning("%s: refused %d times more, the last: %s", address, found.untold, found.last)
            found.untold = 0
