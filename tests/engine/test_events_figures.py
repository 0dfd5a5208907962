# SPDX-License-Identifier: MIT
"""`Figures`: what is counted, by what, and in which bucket."""

from __future__ import annotations

import pytest

from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import BOUNDS, RUNNING, Durations, Events, Figures
from pdudaemon.errors import TransientError
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, Step, Target


def request(action: Action, *pdus: str, outcome: Outcome = Outcome.DONE) -> Request:
    outlets = tuple(Outlet(pdu, "1") for pdu in pdus)
    return Request(action, Target("x", outlets), 0.0, "me", 0.0, Phase.ON, outcome=outcome)


LABELS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        *((bound, number) for number, bound in enumerate(LABELS)),
        *((bound * 1.001, number) for number, bound in enumerate(LABELS, 1)),
        (0.0, 0),
        (0.05, 0),
        (0.050001, 1),
        (1.0, BOUNDS.index(1.0)),
        (3600.0, len(BOUNDS) - 1),
        (3600.1, len(BOUNDS)),
    ],
)
def test_a_bucket_holds_what_takes_no_longer_than_its_bound(seconds: float, bucket: int) -> None:
    figures = Figures()
    figures.ended(request(Action.ON, "a"), seconds)
    durations = figures.durations[Action.ON]
    assert [number for number, count in enumerate(durations.buckets) if count] == [bucket] and durations.sum == seconds


def test_requests_are_counted_once_for_each_of_their_pdus() -> None:
    figures = Figures()
    figures.ended(request(Action.ON, "a", "b", "a"), 2.0)
    figures.ended(request(Action.ON, "a", outcome=Outcome.GIVEN_UP), 4.0)
    figures.ended(request(Action.REBOOT, "b", outcome=Outcome.FAILED), -1.0)
    assert figures.requests == {
        ("a", "on", "done"): 1,
        ("b", "on", "done"): 1,
        ("a", "on", "given_up"): 1,
        ("b", "reboot", "failed"): 1,
    }
    assert figures.durations[Action.ON].sum == 6.0 and sum(figures.durations[Action.ON].buckets) == 2
    assert figures.durations[Action.REBOOT].sum == 0.0  # by a clock that went back


def test_tries_are_those_of_steps() -> None:
    events, one = Events(Clock()), request(Action.REBOOT, "a")
    off, on = (Step(one, Outlet("a", "1"), action, action) for action in (Action.OFF, Action.ON))
    events.of_request(one, "tried", RUNNING, TransientError("no"), off)
    events.of_request(one, "tried", RUNNING, None, off)
    events.of_request(one, "waiting", RUNNING, None, on, due=5.0)
    events.of_request(one, "tried", RUNNING, None, on)
    assert events.figures.tries == {("a", "off", "failed"): 1, ("a", "off", "done"): 1, ("a", "on", "done"): 1}


def test_those_of_pdus_that_have_gone_are_forgotten() -> None:
    events, one = Events(Clock()), request(Action.ON, "a", "b")
    events.of_request(one, "tried", RUNNING, None, Step(one, Outlet("b", "1"), Action.ON, Action.ON))
    events.of_request(one, "ended", "done")
    figures = events.figures
    figures.keep(["a"])
    assert [*figures.requests] == [("a", "on", "done")] and not figures.tries


def test_what_happens_at_sites_counts_as_what_happens_here() -> None:
    figures, places = Figures(), (Outlet("s/a", "1"), Outlet("s/a", "2"), Outlet("s/b", "1"))
    figures.at_site("ended", places, "on", "given up", None, client="x")
    figures.at_site("ended", places[:1], "on", "given up", None)
    for error in (None, TransientError("no"), TransientError("no")):
        figures.at_site("tried", places[:1], "off", "running", error)
    for kind in ("accepted", "begun", "waiting"):
        figures.at_site(kind, places, "on", "queued", None)
    assert figures.requests == {("s/a", "on", "given_up"): 2, ("s/b", "on", "given_up"): 1}
    assert figures.tries == {("s/a", "off", "done"): 1, ("s/a", "off", "failed"): 2}


def test_there_is_a_bucket_for_each_bound_and_one_more() -> None:
    assert len(Durations().buckets) == len(BOUNDS) + 1
