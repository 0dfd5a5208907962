# SPDX-License-Identifier: MIT
"""`Pool`: how many of some PDUs may act at a time, so that a thousand nodes do not start a thousand programs at once.

What costs is the start of a program, not the wait for a machine that does not answer. Whoever has been at it for
`PATIENCE` seconds has therefore lost the place, and the next one begins: a few dead machines hold up nobody else, and
no more than ``places`` actions begin within any such time.
"""

from __future__ import annotations

import threading
import time

PATIENCE = 3.0
"""Seconds after which somebody else may have a place, whether it has been given back or not."""


class Pool:
    """``places`` for threads, each of which has one within ``with``."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._first_in_line = threading.Lock()  # one thread watches the clock; the others queue up behind it
        self._changed = threading.Condition()
        self._since: dict[int, float] = {}  # by thread, the longest there first

    def __enter__(self) -> None:
        with self._first_in_line, self._changed:
            while len(self._since) >= self._places:
                longest, since = next(iter(self._since.items()))
                left = since + PATIENCE - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                else:
                    del self._since[longest]
            self._since[threading.get_ident()] = time.monotonic()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._since.pop(threading.get_ident(), None)
            self._changed.notify()
