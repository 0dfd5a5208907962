# SPDX-License-Identifier: MIT
"""A `Carrier` without threads: a leader and workers that a test plays, by a clock that it sets."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pdudaemon.engine import carrier


class Lead:
    """A carrier and its leader, whose clock a test sets: ``seen`` is who had a turn, and when another was called for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.now = 100.0
        self.entries: list[tuple[float, Callable[[], None]]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.successor: threading.Thread | None = threading.Thread()
        monkeypatch.setattr(carrier, "time", self)
        monkeypatch.setattr(carrier, "SLICE", 0.5)
        monkeypatch.setattr(carrier, "PATIENCE", 0.5)
        timetable = type("Entries", (), {"at": lambda _, when, call: self.entries.append((when, call))})()
        self.led = 0
        self.carrier = carrier.Carrier(timetable, self.lead)
        self.carrier.leader = self

    def monotonic(self) -> float:
        return self.now

    def lead(self) -> None:
        self.led += 1

    def wake(self) -> None:
        self.seen.append("woken")

    def at(self, when: float, call: Callable[[], None]) -> None:
        self.later.append((when, call))

    def succeed(self) -> threading.Thread | None:
        self.seen.append("succeeded" if self.successor else "refused")
        return self.successor

    def look(self) -> None:
        """Make the one call that the timetable has, when it is due."""
        ((self.now, call),) = self.entries
        self.entries.clear()
        call()


class Worker:
    """Has some ``turns``, of which each takes some ``seconds`` and then makes a call."""

    def __init__(
        self, lead: Lead, name: str, seconds: float = 0.0, turns: int = 1, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        self.lead, self.name, self.seconds, self.turns, self.meanwhile = lead, name, seconds, turns, meanwhile
        self.kept: threading.Thread | None = None
        self.rests = 0
        self.at_rest = True

    def turn(self) -> bool:
        self.lead.now += self.seconds
        self.lead.seen.append(self.name)
        self.meanwhile()
        self.turns -= 1
        return self.turns > 0

    def keep(self, thread: threading.Thread) -> None:
        self.kept = thread

    def serve(self) -> None:
        raise AssertionError("that is the thread's to do")

    def rest(self) -> bool:
        self.rests += 1
        return self.at_rest
