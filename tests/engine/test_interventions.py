# SPDX-License-Identifier: MIT
"""`Interventions`: a hurry and a cancel end what they may, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pdudaemon.errors import Conflict, RequestEnded
from pdudaemon.power import Action, Outcome, Phase, Stage
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted

HOUR = 3600.0


def test_a_hurry_ends_the_pause_between_two_tries_of_an_off(rack: Callable[..., Rack]) -> None:
    one = rack("a", settings={"retries": 3, "retrydelay": HOUR})
    one.refusing.add(("a", "off"))
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a"), HOUR)
    eventually(lambda: reboot.steps and reboot.steps[0].attempts == 1 and reboot.steps[0].stage is Stage.QUEUED)
    one.dispatcher.hurry(reboot)
    with pytest.raises(RequestEnded, match="interrupted between two tries"):
        awaited(one.dispatcher, reboot, 30)
    assert one.seen["a"] == "o" and not reboot.debts


def test_a_hurry_interrupts_neither_an_off_that_acts_nor_one_that_has_not_been_tried(
    rack: Callable[..., Rack],
) -> None:
    one = rack("a", "b")
    one.hold("b", "2")
    one.held["a"] = threading.Event()
    one.begun["a"].clear()
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), HOUR)
    assert one.begun["a"].wait(30)
    one.dispatcher.hurry(reboot)
    assert [step.stage for step in reboot.steps] == [Stage.RUNNING, Stage.QUEUED]
    one.let_go("a")
    one.let_go("b")
    assert awaited(one.dispatcher, reboot, 30)
    assert one.seen == {"a": "fo", "b": "ofo"} and reboot.outcome is Outcome.DONE


def test_a_hurry_brings_the_on_that_waits_for_its_delay_forward_and_does_nothing_twice(
    rack: Callable[..., Rack],
) -> None:
    one = rack("a", "b")
    reboot = submitted(one.dispatcher, Action.REBOOT, one.target("a", "b"), HOUR)
    eventually(lambda: reboot.phase is Phase.ON)
    one.held["b"] = threading.Event()
    one.dispatcher.hurry(reboot)
    eventually(lambda: one.seen["a"] == "fo" and reboot.steps[1].running)
    one.dispatcher.hurry(reboot)
    one.let_go("b")
    assert awaited(one.dispatcher, reboot, 30) and one.seen == {"a": "fo", "b": "fo"}


def test_what_acts_or_owes_an_on_is_not_cancelled(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    one.hold("a")
    (running,) = one.dispatcher.records(1)
    with pytest.raises(Conflict, match="is being carried out"):
        one.dispatcher.cancel(running["id"])
    one.let_go("a")
    reboot = owing(one, "a")
    with pytest.raises(Conflict, match="still has to switch on; to leave the port off, ask with half=on"):
        one.dispatcher.cancel(reboot.id)
    one.dispatcher.cancel(reboot.id, "on")
    assert reboot.outcome is Outcome.CANCELLED and one.state(reboot.id) == "cancelled"
    with pytest.raises(Conflict, match="cannot be cancelled: it is cancelled"):
        one.dispatcher.cancel(reboot.id, "on")
    assert "switched before that: a port 1 unknown" in one.dispatcher.record(reboot.id)["reason"]
