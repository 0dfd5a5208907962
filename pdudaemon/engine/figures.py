# SPDX-License-Identifier: MIT
"""`Figures`: how many requests and tries there were, of which PDU and with what result, and how long requests took.

They are counted since the start, where their events are published, and read by whoever shows metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable

from pdudaemon.errors import PDUDaemonError
from pdudaemon.power import Action, Outlet, Request, Step

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)
"""Of the buckets in which durations are counted, in seconds; a last one takes what is longer."""


class Durations:
    """How often something took so long, by bucket, and how long all of it took, in seconds."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


class Figures:
    """Counted with the dispatcher's lock held; read without."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()  # by PDU, action, result
        self.tries: Counter[tuple[str, str, str]] = Counter()
        self.durations = {action: Durations() for action in (Action.ON, Action.OFF, Action.REBOOT)}

    def ended(self, request: Request, seconds: float) -> None:
        """Count a request, which ended so long after it was accepted: once for each of its PDUs."""
        result = "" if request.outcome is None else request.outcome.value.replace(" ", "_")
        for pdu in request.target.pdus:
            self.requests[pdu, request.action.value, result] += 1
        self.durations[request.action].add(max(0.0, seconds))

    def tried(self, step: Step, error: PDUDaemonError | None) -> None:
        """Count a try."""
        self.tries[step.outlet.pdu, step.action.value, "done" if error is None else "failed"] += 1

    def at_site(
        self, kind: str, outlets: Iterable[Outlet], action: str, state: str, error: object, **_: object
    ) -> None:
        """Count what is heard to have happened at a site, as far as that is a request that ended, or a try."""
        for pdu in {outlet.pdu for outlet in outlets}:
            if kind == "ended":
                self.requests[pdu, action, state.replace(" ", "_")] += 1
            elif kind == "tried":
                self.tries[pdu, action, "done" if error is None else "failed"] += 1

    def keep(self, names: Collection[str]) -> None:
        """Forget what is of other PDUs than these."""
        for counted in (self.requests, self.tries):
            for key in [key for key in counted if key[0] not in names]:
                del counted[key]
