# SPDX-License-Identifier: MIT
"""How much time machines have left that were asked to shut down, what is told of that, and who cannot be asked."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.engine import softoff
from pdudaemon.errors import NoShutdown, PDUDaemonError
from pdudaemon.power import Action, Asked, Outlet, Phase, Request, Soft, Target
from tests.support.machines import Machines, cancelled, record
from tests.support.process import eventually
from tests.support.rack import awaited

A, B = Outlet("a", "1"), Outlet("b", "1")


def request(soft: Soft | None = None) -> Request:
    target = Target("node", (A, B))
    return Request(Action.OFF, target, 0.0, "", 0.0, Phase.OFF, remaining=[A, B], soft=soft)


def soft(a: float | None = None, b: float | None = None, /, **became: str) -> Soft:
    """Return what was asked until when, by the machine's uptime, of 60 seconds; and what came of whom."""
    asked = {outlet: Asked(0.0, until) for outlet, until in ((A, a), (B, b)) if until is not None}
    return Soft(60.0, True, asked, {Outlet(name, "1"): said for name, said in became.items()})


@pytest.mark.parametrize(
    ("one", "left", "waits", "told"),
    [
        (None, None, False, None),
        (soft(), None, False, None),
        (soft(130.0), 30.0, True, "asked to shut down: 30 s are left"),
        (soft(130.0, 150.0), 50.0, True, "asked to shut down: 50 s are left"),
        (soft(100.0), 0.0, False, "asked to shut down: 0 s are left"),
        (soft(90.0), -10.0, False, "asked to shut down: 0 s are left"),
        (soft(90.0, 101.0), 1.0, True, "asked to shut down: 1 s are left"),
        (soft(1000.0), 60.0, True, "asked to shut down: 60 s are left"),
        (soft(130.0, 150.0, b="shut down"), 30.0, True, "shut down"),
        (soft(130.0, a="shut down"), None, False, "shut down"),
    ],
)
def test_how_much_is_left(one: Soft | None, left: float | None, waits: bool, told: str | None) -> None:
    asked = request(one)
    assert softoff.time_left(asked, 100.0) == left
    assert softoff.still_waits(asked, 100.0) is waits and softoff.standing(asked, 100.0) == told


def test_one_that_is_done_with_waits_for_nothing() -> None:
    asked = request(soft(130.0, 90.0))
    assert softoff.still_waits(asked, 100.0)
    asked.remaining.remove(A)
    assert not softoff.still_waits(asked, 100.0)


def test_after_another_start_of_the_machine_its_time_ends_when_it_was_to() -> None:
    asked = request(Soft(60.0, True, {A: Asked(1030.0, 5e6, "why"), B: Asked(990.0, 4e6)}))
    softoff.date(asked, 1000.0, 7.0)
    assert asked.soft is not None
    assert asked.soft.asked == {A: Asked(1030.0, 37.0, "why"), B: Asked(990.0, -3.0)}
    softoff.date(request(), 1000.0, 7.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    pdus = {name: {"driver": "dummy"} for name in ("a", "deaf", "blind")} | {"off": {"driver": "dummy", "retries": "x"}}
    (tmp_path / "conf").write_text(json.dumps({"pdus": pdus}))
    found = reader.load(str(tmp_path / "conf"))
    able = {}
    for name, pdu in found.pdus.items():
        traits = replace(pdu.traits, shuts_down=name not in ("deaf", "off"), reads_state=name != "blind")
        able[name] = replace(pdu, traits=traits)
    return replace(found, pdus=able)


@pytest.mark.parametrize(
    ("action", "names", "why"),
    [
        (Action.OFF, "a", None),
        (Action.REBOOT, "a", None),
        (Action.ON, "a", "soft: is for off and reboot, not for on"),
        (Action.OFF, "a deaf", "soft: deaf port 1 cannot be asked to shut down: dummy cannot, as it is set up"),
        (Action.OFF, "a blind", "soft: nobody could see that blind port 1 has shut down: its state cannot be read"),
        (Action.OFF, "off a gone", None),
        (Action.OFF, "off gone deaf", "soft: deaf port 1 cannot be asked to shut down: dummy cannot, as it is set up"),
    ],
)
def test_who_cannot_be_asked(config: Config, action: Action, names: str, why: str | None) -> None:
    target = Target("x", tuple(Outlet(name, "1") for name in names.split()))
    found = softoff.refusal(config, action, target)
    assert (None if found is None else str(found)) == why and (found is None or type(found) is NoShutdown)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setattr(softoff, "LOOK_EVERY", 0.05)
    made = Machines(tmp_path, "a", "b")
    yield made
    made.stop()


def test_what_is_told_of_one_that_shuts_down(machines: Machines, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one = machines.ask("off", "a")
    machines.asked("a")
    said = f"request {one.id}: off a: a port 1 was asked to shut down, and has 3000 s for it"
    eventually(lambda: said in caplog.messages)
    machines.clock.pass_by(7.0)
    machines.heeding.add("a")
    assert awaited(machines.dispatcher, one, 30)
    assert record(machines, one)["reason"] in [f"shut down by itself after {seconds} s" for seconds in range(7, 30)]
    kinds = [(event.kind, event.action) for event in machines.dispatcher.events.since(0)[0] if event.request == one.id]
    assert kinds == [
        ("accepted", "off"),
        ("begun", "off"),
        ("waiting", "off"),
        ("tried", "off"),
        ("ended", "off"),
    ]


def test_between_two_tries_to_ask_there_is_a_pause(machines: Machines, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machines.pdus["a"] |= {"retries": 3, "retrydelay": 3600}
    machines.dispatcher.reload(machines.config())
    machines.refusing.add(("a", "hear"))
    one = machines.ask("off", "a")
    said = f"request {one.id}: off a: try 1 of 3 to ask failed: a: no answer"
    eventually(lambda: said in caplog.messages and machines.state(one.id) == "waiting")
    assert one.steps[0].at > time.monotonic() + 3000 and one.steps[0].attempts == 1
    with pytest.raises(PDUDaemonError, match=r"not done after 0\.01 s: .*a: no answer"):
        awaited(machines.dispatcher, one, 0.01)
    looks = machines.looks["a"]
    eventually(lambda: cancelled(machines, one))
    assert machines.looks["a"] == looks == 1 and machines.seen["a"] == "o"


def test_what_could_not_be_asked_is_told_and_was_tried(machines: Machines, caplog: pytest.LogCaptureFixture) -> None:
    machines.refusing.add(("a", "shutdown"))
    one = machines.ask("off", "a", hard=False)
    with pytest.raises(PDUDaemonError, match="nothing was switched"):
        awaited(machines.dispatcher, one, 30)
    assert "a port 1 could not be asked to shut down: a: it does not know how" in caplog.text
    assert "switched off hard" not in caplog.text
    tried = [event for event in machines.dispatcher.events.since(0)[0] if event.kind == "tried"]
    assert [str(event.error) for event in tried] == ["a: it does not know how"]


def test_that_it_is_switched_off_hard_is_told(machines: Machines, caplog: pytest.LogCaptureFixture) -> None:
    one = machines.ask("off", "a", soft=0.2)
    assert awaited(machines.dispatcher, one, 30)
    assert (
        f"request {one.id}: off a: a port 1 did not shut down within 0.2 s: it is switched off hard" in caplog.messages
    )


def test_it_is_asked_as_often_as_an_action_is_tried(machines: Machines) -> None:
    machines.pdus["a"] |= {"retries": 2, "retrydelay": 0}
    machines.dispatcher.reload(machines.config())
    machines.refusing.add(("a", "hear"))
    one = machines.ask("off", "a", soft=0.1)
    assert awaited(machines.dispatcher, one, 30)
    tried = [str(event.error) for event in machines.dispatcher.events.since(0)[0] if event.kind == "tried"]
    assert tried == ["a: no answer", "a: no answer", "None"] and machines.seen["a"] == "of"


def test_it_has_all_of_its_time(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    one = machines.ask("off", "a")
    machines.asked("a")
    until = one.soft.asked[A].until_uptime if one.soft is not None else 0.0
    monkeypatch.setattr(machines.clock, "uptime", lambda: until - 0.5)
    looks = machines.looks["a"]
    eventually(lambda: machines.looks["a"] > looks + 3)
    assert machines.seen["a"] == "os" and one.ended is None
    monkeypatch.setattr(machines.clock, "uptime", lambda: until)
    assert awaited(machines.dispatcher, one, 30) and machines.seen["a"] == "osf"


def test_a_look_that_is_not_answered_is_no_try(machines: Machines) -> None:
    machines.blind.add("a")
    one = machines.ask("off", "a")
    machines.asked("a", looks=3)
    machines.clock.pass_by(3600.0)
    assert awaited(machines.dispatcher, one, 30)
    tried = [event.error for event in machines.dispatcher.events.since(0)[0] if event.kind == "tried"]
    assert tried == [None] and machines.seen["a"] == "osf"


def test_a_hard_off_is_tried_as_often_as_any_other(machines: Machines) -> None:
    machines.pdus["a"] |= {"retries": 2, "retrydelay": 0}
    machines.dispatcher.reload(machines.config())
    machines.refusing.add(("a", "off"))
    one = machines.ask("off", "a", soft=0.2)
    with pytest.raises(PDUDaemonError, match="a: refused"):
        awaited(machines.dispatcher, one, 30)
    tried = [str(event.error) for event in machines.dispatcher.events.since(0)[0] if event.kind == "tried"]
    assert tried == ["a: refused"] * 2


def test_who_is_in_a_hurry_does_not_wait_for_a_machine_to_shut_down(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is switched on, as it may have gone off; also before it has been looked at."""
    monkeypatch.setattr(softoff, "LOOK_EVERY", 3600.0)
    one = machines.ask("reboot", "a")
    machines.asked("a")
    eventually(lambda: machines.state(one.id) == "waiting")
    assert one.steps[0].at > time.monotonic() + 2000, "it is not looked at all the time"
    machines.dispatcher.hurry(one)
    with pytest.raises(PDUDaemonError, match="interrupted between two tries"):
        awaited(machines.dispatcher, one, 30)
    assert machines.seen["a"] == "oso"
