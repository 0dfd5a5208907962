# SPDX-License-Identifier: MIT
"""`Pool`: how many of some PDUs may act at a time, so that a cluster that is switched at once does not start thousands
of programs, or threads, at once.

What costs is the start of a program, not the wait for a machine that does not answer. Whoever has been at it for
`PATIENCE` seconds has therefore lost the place, and the next one begins: a few dead machines hold up nobody else, and
no more than ``places`` actions begin within any such time.

Who has to wait does so without a thread: it is called when its turn has come. Turns go round among the crowds that wait
(the requests of a command, the questions of a look at many; all others are one), so that whoever switches one machine
does not stand behind ten thousand others.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pdudaemon.engine import threads

PATIENCE = 3.0
"""Seconds after which somebody else may have a place, whether it has been given back or not."""


@dataclass(eq=False)
class Place:
    """A place, or the wish for one. ``begin`` is called, once, by any thread when it is had, and must not take long.

    It returns whether somebody makes use of the place now; if not, it is called again later. ``serve`` is what a thread
    that has just done with another place can do instead, so that none has to be started.
    """

    begin: Callable[[], bool]
    crowd: Hashable = None
    serve: Callable[[], Any] | None = None


class Pool:
    """``places``, and who stands in line for them. Any thread."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._changed = threading.Condition()
        self._since: dict[Place, float] = {}  # who has a place, the longest there first
        self._line: dict[Hashable, deque[Place]] = {}  # by crowd; the one whose turn is next comes first
        self._rest_until = 0.0  # there are no threads to be had
        self._watched = False

    def ask(self, place: Place) -> None:
        """Stand in line for a place; what begins then may do so before this returns."""
        with self._changed:
            self._line.setdefault(place.crowd, deque()).append(place)
        self._hand_out()

    def leave(self, place: Place) -> None:
        """Give a place back, if it has not been lost by now."""
        with self._changed:
            self._since.pop(place, None)
            waiting = bool(self._line)
        if waiting:
            self._hand_out()

    def exchange(self, place: Place, wish: Place | None = None) -> Place | None:
        """Give a place back, and perhaps stand in line anew; return who has it now, for this thread to ``serve``."""
        with self._changed:
            self._since.pop(place, None)
            if wish is not None:
                self._line.setdefault(wish.crowd, deque()).append(wish)
            following = self._next() if self._line else None
        if following is None or following.serve is not None:
            return following
        if not following.begin():
            self.put_off(following)
        return None

    @contextmanager
    def place(self, crowd: Hashable = None) -> Iterator[None]:
        """Have a place meanwhile; for a thread that waits for it."""
        had = threading.Event()

        def begin() -> bool:
            had.set()
            return True

        mine = Place(begin, crowd)
        self.ask(mine)
        had.wait()
        try:
            yield
        finally:
            self.leave(mine)

    def _hand_out(self) -> None:
        """Give the places that are free to those whose turn it is; see to it that somebody looks at the others."""
        while True:
            with self._changed:
                place = self._next()
            if place is None:
                return
            if not place.begin():
                self.put_off(place)
                return

    def put_off(self, place: Place) -> None:
        """Have somebody who could make no use of a place be the first to get one, some time later."""
        with self._changed:
            self._since.pop(place, None)
            self._line.setdefault(place.crowd, deque()).appendleft(place)
            self._rest_until = time.monotonic() + threads.PAUSE
            self._watch()

    def _next(self) -> Place | None:
        """Return who has got a place just now, if somebody has."""
        if not self._line:
            return None
        now = time.monotonic()
        if now < self._rest_until or (len(self._since) >= self._places and not self._lost(now)):
            self._watch()
            return None
        crowd, line = next(iter(self._line.items()))
        place = line.popleft()
        del self._line[crowd]
        if line:
            self._line[crowd] = line
        self._since[place] = now
        return place

    def _lost(self, now: float) -> bool:
        """Take a place from who has been there for too long; return whether that was so."""
        longest, since = next(iter(self._since.items()))
        if since + PATIENCE > now:
            return False
        del self._since[longest]
        return True

    def _watch(self) -> None:
        """Have a thread look after the line for as long as there is one."""
        if self._watched:
            return
        # If there is none to be had, whoever leaves or comes looks as well.
        self._watched = threads.started(self._look_after, "pool", "who looks after those that wait") is not None

    def _look_after(self) -> None:
        while True:
            with self._changed:
                if not self._line:
                    self._watched = False
                    return
                oldest = next(iter(self._since.values()), 0.0) if len(self._since) >= self._places else 0.0
                until = max(self._rest_until, oldest + PATIENCE if oldest else 0.0)
                if (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
            self._hand_out()
