# SPDX-License-Identifier: MIT
"""`Resumption`: what ends at a start or a reload without being done, and what is paid all the same."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import dispatcher, softoff
from pdudaemon.errors import RequestError
from pdudaemon.power import Action, Outlet, Phase, State, Target
from tests.support.machines import LONG, Machines
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait for what acts when the daemon stops."""
    monkeypatch.setattr(dispatcher, "LEAVE_GRACE", 0.0)


def rewrite(rack: Rack, number: int, **columns: Any) -> None:
    """Have something else be on record, while the daemon is not there."""
    with closing(sqlite3.connect(rack.store)) as store:
        for name, value in columns.items():
            store.execute(f"UPDATE request SET {name} = ? WHERE id = ?", (value, number))
        store.commit()


def left_over(one: Rack, action: Action, *pdus: str) -> int:
    """Leave a request on record that has not begun; return its number."""
    for pdu in pdus:
        one.hold(pdu, "2")
    request = submitted(one.dispatcher, action, one.target(*pdus))
    one.stop()
    for number, pdu in enumerate(pdus, 1):
        one.let_go(pdu)
        eventually(lambda: one.seen[pdu] == "o")  # noqa: B023, of which nobody hears any more
        rewrite(one, number, ended=1.0, outcome="done", outlets="[]")
    one.seen.clear()
    return request.id


def reason(one: Rack, number: int) -> str:
    return str(one.dispatcher.record(number)["reason"])


def test_what_is_not_configured_any_more_has_failed(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    number = left_over(one, Action.OFF, "a")
    del one.pdus["a"]
    one.start()
    assert one.state(number) == "failed" and reason(one, number) == "a is not configured any more"
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target("b")), 30) and one.seen == {"b": "o"}


def test_a_debt_is_paid_though_it_is_said_to_be_done_with(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    number = left_over(one, Action.OFF, "a", "b")
    rewrite(one, number, debts=BOTH, outlets='[["a", "1"]]')
    one.clock.pass_by(HOUR)
    one.start()
    eventually(lambda: one.state(number) == "expired")
    assert one.seen == {"a": "o", "b": "o"}


def test_a_restart_of_its_own_that_was_cut_off_is_not_done_again(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    number = left_over(one, Action.REBOOT, "a")
    rewrite(one, number, phase="restart", started=5.0)
    one.start()
    assert one.state(number) == "interrupted"
    assert reason(one, number) == "interrupted by the end of the daemon, not done again"
    assert one.dispatcher.record(number)["switched"] == [{"pdu": "a", "port": "1", "state": "unknown"}]
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.ON, one.target("a")), 30) and one.seen["a"] == "o"


def test_one_that_has_not_begun_is(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    number = left_over(one, Action.REBOOT, "a")
    one.start()
    eventually(lambda: one.state(number) == "done")
    assert one.seen["a"] == "fo"


A, BOTH = '[["a", "1"]]', '[["a", "1"], ["b", "1"]]'


@pytest.mark.parametrize(
    ("action", "debts", "started", "state", "seen"),
    [
        (Action.OFF, "[]", None, "expired", {}),
        (Action.ON, "[]", None, "expired", {}),
        (Action.REBOOT, "[]", None, "expired", {}),
        (Action.REBOOT, BOTH, 5.0, "done", {"a": "o", "b": "o"}),
        (Action.REBOOT, BOTH, None, "expired", {"a": "o", "b": "o"}),
        (Action.REBOOT, A, 5.0, "expired", {"a": "o"}),
        (Action.ON, BOTH, None, "done", {"a": "o", "b": "o"}),
        (Action.ON, A, None, "expired", {"a": "o"}),
        (Action.OFF, BOTH, None, "expired", {"a": "o", "b": "o"}),
        (Action.OFF, BOTH, 5.0, "expired", {"a": "o", "b": "o"}),
    ],
)
def test_what_is_late_pays_its_debts_and_does_nothing_else(
    rack: Callable[..., Rack], action: Action, debts: str, started: float | None, state: str, seen: dict[str, str]
) -> None:
    one = rack("a", "b")
    number = left_over(one, action, "a", "b")
    rewrite(one, number, debts=debts, started=started)
    one.clock.pass_by(HOUR)
    one.start()
    eventually(lambda: one.state(number) == state and one.dispatcher.record(number)["ended"])
    assert one.seen == seen
    assert (state == "done") != reason(one, number).startswith("expired: 36")


@pytest.mark.parametrize("late", [False, True])
def test_an_on_that_follows_an_off_is_never_late(rack: Callable[..., Rack], late: bool) -> None:
    one = rack("a")
    number = left_over(one, Action.REBOOT, "a")
    rewrite(one, number, phase="on", debts=A, started=5.0, off_ended=6.0)
    one.clock.pass_by(HOUR if late else 0.0)
    one.start()
    eventually(lambda: one.state(number) == "done")
    assert one.seen["a"] == "o"


@pytest.mark.parametrize(("delay", "expires"), [(0.0, True), (HOUR, False)])
def test_what_was_to_wait_is_late_from_then_on(rack: Callable[..., Rack], delay: float, expires: bool) -> None:
    one = rack("a")
    number = left_over(one, Action.OFF, "a")
    rewrite(one, number, delay=delay)
    one.clock.pass_by(HOUR)
    one.start()
    eventually(lambda: one.state(number) == ("expired" if expires else "done"))


def test_an_owed_outlet_that_is_gone_is_said_loudly(
    rack: Callable[..., Rack], caplog: pytest.LogCaptureFixture
) -> None:
    one = rack("a", "b")
    number = left_over(one, Action.REBOOT, "a", "b")
    rewrite(one, number, debts=BOTH, phase="on", started=5.0, off_ended=6.0)
    del one.pdus["a"]
    one.start()
    eventually(lambda: one.dispatcher.record(number)["ended"])
    assert one.state(number) == "failed" and one.seen == {"b": "o"}
    assert (
        "a port 1 MAY BE OFF: a is not configured any more" in caplog.text and "b port 1 MAY BE OFF" not in caplog.text
    )


def test_all_that_a_request_is_for_may_be_gone_by_a_reload(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b", settings={"outlets": 4})
    gone = Target("gone", (Outlet("a", "3"), Outlet("a", "4")))
    one.hold("a")
    request = submitted(one.dispatcher, Action.OFF, gone)
    later = submitted(one.dispatcher, Action.ON, one.target("a"))
    one.pdus["a"]["outlets"] = 2
    one.dispatcher.reload(one.config())
    with pytest.raises(RequestError, match="this PDU has 1 to 2"):
        awaited(one.dispatcher, request, 30)
    one.let_go("a")
    assert awaited(one.dispatcher, later, 30) and one.seen["a"] == "oo" and one.state(request.id) == "failed"


def test_a_port_that_a_pdu_spells_otherwise_now_is_none_of_it(rack: Callable[..., Rack]) -> None:
    commands = {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"}
    one = rack("a", settings=commands)
    one.hold("a")
    request = submitted(one.dispatcher, Action.OFF, one.dispatcher.config.target("a", "01"))
    assert request.target.outlets == (Outlet("a", "01"),)
    one.pdus["a"] = {"driver": "dummy"}
    one.dispatcher.reload(one.config())
    with pytest.raises(RequestError, match="there is no a port 01 any more"):
        awaited(one.dispatcher, request, 30)
    one.let_go("a")


def test_what_is_kept_is_said_loudly(rack: Callable[..., Rack], caplog: pytest.LogCaptureFixture) -> None:
    one = rack("a")
    number = left_over(one, Action.OFF, "a")
    one.pdus["a"]["retries"] = "many"
    one.start()
    (said,) = [each for each in caplog.messages if "kept until this can be" in each]
    assert said.startswith(f"request {number}: off a kept until this can be: a is disabled: ") and "retries" in said


@pytest.mark.parametrize(("passed", "state"), [(HOUR, "done"), (60.0, "waiting")])
def test_a_delay_goes_on_after_another_start_of_the_machine(
    rack: Callable[..., Rack], passed: float, state: str
) -> None:
    one = rack("a")
    request = submitted(one.dispatcher, Action.REBOOT, one.target("a"), HOUR - 60)
    eventually(lambda: one.seen["a"] == "f" and one.dispatcher.record(request.id)["state"] == "waiting")
    one.stop()
    one.clock.boot, one.clock.uptime_off = "second", 100.0 - one.clock.uptime()
    one.clock.wall_off += passed
    one.start()
    eventually(lambda: one.state(request.id) == state)
    assert one.seen["a"] == ("fo" if state == "done" else "f")


@pytest.mark.parametrize("passed", [HOUR / 2, HOUR])
def test_a_delay_that_ran_when_the_machine_ended_is_counted_from_the_off(
    rack: Callable[..., Rack], passed: float
) -> None:
    one = rack("a")
    request = submitted(one.dispatcher, Action.REBOOT, one.target("a"), 10 * HOUR)
    eventually(lambda: one.seen["a"] == "f" and one.dispatcher.record(request.id)["state"] == "waiting")
    one.stop()
    one.clock.boot, one.clock.uptime_off = "second", 100.0 - one.clock.uptime()
    one.clock.wall_off += passed
    one.start()
    (step,) = one.dispatcher._lanes.live[request.id].steps
    left = step.at - time.monotonic()
    assert 10 * HOUR - passed - 600 < left <= 10 * HOUR - passed


def test_what_was_lost_at_one_start_does_not_come_back_with_the_next(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    off = submitted(one.dispatcher, Action.OFF, one.target("a", "b"), HOUR)
    gone = one.pdus.pop("a")
    one.restart()
    one.pdus["a"] = gone
    one.restart()
    assert [outlet.pdu for outlet in one.dispatcher._lanes.live[off.id].remaining] == ["b"]


def test_what_has_not_begun_leaves_an_outlet_what_it_was_told(rack: Callable[..., Rack]) -> None:
    """Whether it will never begin, or later."""
    one = rack("a", "b")
    for name, action in (("a", Action.ON), ("b", Action.OFF)):
        assert awaited(one.dispatcher, submitted(one.dispatcher, action, one.target(name)), 30)
    later = submitted(one.dispatcher, Action.ON, one.target("b"), 10 * HOUR)
    number = left_over(one, Action.REBOOT, "a")
    one.clock.pass_by(HOUR)
    one.start()
    assert (one.state(number), one.state(later.id)) == ("expired", "waiting")
    found = [one.dispatcher.inventory.outlet(Outlet(name, "1")).state for name in ("a", "b")]
    assert found == [State.ON, State.OFF]


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_feed_that_a_reload_takes_away_is_not_switched_and_the_next_one_is(
    rack: Callable[..., Rack], first: str
) -> None:
    """Whether its turn had come already, or was to come behind the other's."""
    one = rack("a", "b", settings={"outlets": 4})
    feeds = (Outlet("a", "4"), Outlet("b", "1"))
    one.hold(first, "2")
    node = Target("node", feeds if first == "a" else feeds[::-1])
    request = submitted(one.dispatcher, Action.ON, node)
    one.pdus["a"]["outlets"] = 2
    one.dispatcher.reload(one.config())
    one.let_go(first)
    with pytest.raises(RequestError, match="this PDU has 1 to 2"):
        awaited(one.dispatcher, request, 30)
    eventually(lambda: one.seen == ({"a": "o", "b": "o"} if first == "a" else {"b": "oo"}))
    assert request.results[feeds[1]] is None


def test_what_could_have_changed_nothing_leaves_an_outlet_what_it_was_told(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.OFF, one.target("a")), 30)
    one.seen.clear()
    number = left_over(one, Action.OFF, "a")
    one.clock.pass_by(HOUR)
    one.start()
    assert one.state(number) == "expired"
    assert one.dispatcher.inventory.outlet(Outlet("a", "1")).state is State.OFF


def test_a_machine_that_does_not_say_which_start_of_it_this_is_may_have_been_started_anew(
    rack: Callable[..., Rack],
) -> None:
    one = rack("a")
    one.clock.boot = ""
    number = left_over(one, Action.OFF, "a")
    one.clock.uptime_off -= 100_000.0
    one.start()
    eventually(lambda: one.state(number) == "done")


def test_what_goes_on_after_another_start_of_the_machine_is_of_that_one(
    rack: Callable[..., Rack], caplog: pytest.LogCaptureFixture
) -> None:
    """So that its clock, and not the wall's, says how long it has waited when the daemon is started once more."""
    one = rack("a")
    number = left_over(one, Action.REBOOT, "a")
    rewrite(one, number, delay=HOUR)
    caplog.set_level("INFO")
    one.clock.boot = "second"
    one.start()
    eventually(lambda: one.dispatcher._lanes.live[number].phase is Phase.ON)
    one.stop()
    one.clock.wall_off += 10 * HOUR
    one.start()
    (step,) = one.dispatcher._lanes.live[number].steps
    assert one.seen["a"] == "f" and step.at > time.monotonic() + HOUR / 2
    assert caplog.messages.count(f"request {number}: reboot a resumed") == 2


def test_a_restart_of_its_own_that_has_not_begun_is_done(rack: Callable[..., Rack]) -> None:
    one = rack("a")
    number = left_over(one, Action.REBOOT, "a")
    rewrite(one, number, phase="restart")
    one.start()
    eventually(lambda: one.dispatcher.record(number)["ended"])
    assert one.state(number) != "interrupted"


@pytest.mark.parametrize(("passed", "expires"), [(LONG - 100, False), (LONG + HOUR, True)])
def test_what_was_to_be_done_softly_is_late_when_the_time_for_that_is_over(
    tmp_path: Path, passed: float, expires: bool
) -> None:
    machines = Machines(tmp_path, "a")
    machines.hold("a", "2")
    number = machines.ask("off", "a").id
    machines.stop()
    machines.let_go("a")
    machines.heeding.add("a")
    machines.clock.pass_by(passed)
    machines.start()
    eventually(lambda: machines.state(number) == ("expired" if expires else "done"))
    assert ("s" in machines.seen["a"]) is not expires
    machines.stop()


def test_what_a_reload_took_away_does_not_come_back_with_the_next_start(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b", settings={"outlets": 4})
    node = Target("node", (Outlet("a", "4"), Outlet("b", "1")))
    off = submitted(one.dispatcher, Action.OFF, node, HOUR)
    one.pdus["a"]["outlets"] = 2
    one.dispatcher.reload(one.config())
    assert [outlet.pdu for outlet in off.remaining] == ["b"]
    one.pdus["a"]["outlets"] = 4
    one.restart()
    assert [outlet.pdu for outlet in one.dispatcher._lanes.live[off.id].remaining] == ["b"]


def test_who_was_asked_to_shut_down_has_what_is_left_of_the_time_however_late_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softoff, "LOOK_EVERY", 0.05)
    machines = Machines(tmp_path, "a", resume_age=1)
    machines.hold("a", "2")
    number = machines.ask("off", "a").id
    machines.clock.pass_by(LONG)  # in the queue
    machines.let_go("a")
    machines.asked("a")
    machines.stop()
    machines.clock.pass_by(LONG / 2)
    machines.start()
    before = machines.looks["a"]
    eventually(lambda: machines.looks["a"] > before)
    machines.heeding.add("a")
    eventually(lambda: machines.state(number) == "done")
    machines.stop()


def test_an_on_that_is_kept_up_for_a_debt_ends_with_the_outlet(
    rack: Callable[..., Rack], caplog: pytest.LogCaptureFixture
) -> None:
    one = rack("a", "b", settings={"outlets": 4})
    one.refusing.add(("a", "on"))
    outlet = Outlet("a", "4")
    first = submitted(one.dispatcher, Action.REBOOT, Target("board", (outlet,)), 0)
    later = submitted(one.dispatcher, Action.OFF, Target("node", (outlet, Outlet("b", "1"))), HOUR)
    eventually(lambda: one.state(first.id) == "superseded" and later.repairs and later.repairs[0].backing_off)
    one.pdus["a"]["outlets"] = 2
    one.dispatcher.reload(one.config())
    assert not later.repairs and not later.debts and [left.pdu for left in later.remaining] == ["b"]
    assert f"request {later.id}: off node: a port 4 MAY BE OFF: " in caplog.text
    one.dispatcher.cancel(later.id)
