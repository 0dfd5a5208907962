# SPDX-License-Identifier: MIT
"""`Carrier` with a leader that comes and goes: who is told, who is woken, and who is asked to rest."""

from __future__ import annotations

import threading

import pytest

from pdudaemon.engine import carrier
from pdudaemon.engine.carrier import Promptness
from tests.support.leading import Lead, Worker


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Lead:
    return Lead(monkeypatch)


def test_what_came_of_all_is_told_once_they_had_their_turn(lead: Lead) -> None:
    for name in "abc":
        lead.carrier.carry(Worker(lead, name, meanwhile=lambda: seen.append(lead.led)))
    seen: list[int] = []
    assert lead.carrier.work() is None
    assert seen == [0, 0, 0] and lead.led == 1
    assert lead.carrier.work() is None and lead.led == 2


def test_one_that_keeps_the_thread_leaves_that_to_who_succeeds(lead: Lead) -> None:
    slow = Worker(lead, "slow", meanwhile=lead.look)
    lead.carrier.carry(slow)
    assert lead.carrier.work() == slow.serve and lead.led == 0
    assert slow.kept is threading.current_thread()
    assert lead.carrier._thread is lead.successor and lead.carrier._at is None
    assert lead.entries, "it is looked after who succeeds"


def test_a_job_is_over_when_it_has_ended(lead: Lead) -> None:
    """Nobody keeps a thread for that however long it has been."""
    one = Worker(lead, "one")
    lead.carrier.carry(one)
    lead.carrier.work()
    lead.now += 60
    lead.carrier._look()
    assert one.kept is None and "succeeded" not in lead.seen


def test_without_a_leader_nobody_keeps_a_thread_or_is_woken(lead: Lead) -> None:
    """As it has gone while a job was under way."""

    def gone() -> None:
        lead.carrier.leader = None
        lead.look()

    slow, other = Worker(lead, "slow", turns=2, meanwhile=gone), Worker(lead, "other")
    for worker in (slow, other):
        lead.carrier.carry(worker)
    lead.seen.clear()
    assert lead.carrier.work() is None
    assert lead.seen == ["slow", "other"] and slow.kept is None and lead.led == 1
    assert len(lead.carrier._line) == 1 and lead.later == []


def test_without_a_leader_nobody_is_asked_to_rest(lead: Lead) -> None:
    one = Worker(lead, "one")
    one.at_rest = False
    lead.carrier.carry(one)
    lead.carrier.work()
    ((_, rest),) = lead.later
    lead.carrier.leader = None
    rest()
    assert one.rests == 1 and len(lead.later) == 1


def test_each_is_asked_to_rest_once_a_round(lead: Lead) -> None:
    """However often it has been carried meanwhile."""
    one = Worker(lead, "one", turns=3)
    lead.carrier.carry(one)
    for _ in range(3):
        lead.carrier.work()
    ((_, rest),) = lead.later
    rest()
    assert one.rests == 1 and lead.carrier._restless == {}
    lead.carrier.carry(one)
    lead.carrier.work()
    assert len(lead.later) == 2


def test_who_is_called_dead(lead: Lead) -> None:
    assert str(lead.carrier) == str(lead) and lead.carrier.dead is False, "it has not begun"
    lead.carrier.work()
    assert lead.carrier.dead is False
    lead.carrier._thread = threading.Thread()
    assert lead.carrier.dead is True
    lead.carrier.leader = None
    assert lead.carrier.dead is False


def test_it_is_looked_after_no_more_often_than_once_at_a_time(lead: Lead) -> None:
    lead.carrier.carry(Worker(lead, "a"))
    lead.carrier.carry(Worker(lead, "b"))
    assert [when for when, _ in lead.entries] == [lead.now + carrier.PATIENCE]
    lead.carrier.work()
    lead.now += carrier.WATCHED
    lead.entries.clear()
    lead.carrier._look()
    assert lead.entries == [] and lead.carrier._watched is False, "nothing has come for a while"
    lead.carrier.carry(Worker(lead, "c"))
    assert len(lead.entries) == 1
    lead.now += carrier.WATCHED
    lead.entries.clear()
    lead.carrier._look()
    assert len(lead.entries) == 1, "somebody is in line"


def test_so_many_in_a_row_make_it_prompt() -> None:
    one = Promptness()
    seen = [one.enough]
    for _ in range(carrier.TRUST):
        one.add(carrier.PROMPT / 2)
        seen.append(one.enough)
    assert seen == [False] * carrier.TRUST + [True]
    one.forget()
    assert not one.enough
    for _ in range(carrier.TRUST - 1):
        one.add(0.0)
    assert not one.enough
    one.add(carrier.PROMPT)  # half of it is gone
    for _ in range(carrier.TRUST - (carrier.TRUST - 1) // 2 - 1):
        one.add(0.0)
    assert not one.enough
    one.add(0.0)
    assert one.enough


def test_what_is_trusted_for_long_is_so_after_one_that_took_longer() -> None:
    one = Promptness()
    for _ in range(10 * carrier.TRUST):
        one.add(0.0)
    one.add(1.0)
    assert one.enough, "it has been so twice as often as it must"
    one.add(1.0)
    assert not one.enough
