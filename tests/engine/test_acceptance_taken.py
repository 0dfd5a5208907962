# SPDX-License-Identifier: MIT
"""`Acceptance`: what is made of what is asked for, and how much of it each PDU has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import acceptance
from pdudaemon.errors import Busy, KeyUsed, Locked, NoShutdown, PDUDaemonError, RequestError, StoreError
from pdudaemon.power import Action, Command, Outlet, Phase, Request, Submission, Target
from tests.support.workless import A2, A, B, Lab, labs

Told = list[tuple[str, object]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lab]]:
    with labs(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def lab(make: Callable[..., Lab]) -> Lab:
    return make()


def wanted(lab: Lab, outlet: Outlet = A, action: Action = Action.OFF, **more: Any) -> Submission:
    return Submission(action, lab.config.target(outlet.pdu, outlet.port), **more)


def submit(lab: Lab, *all_of_it: Submission, command: Command | None = None) -> list[str]:
    """Return the numbers of what was accepted, or why it was not."""
    found = lab.dispatcher.submit(all_of_it, command)
    return [str(each.id) if isinstance(each, Request) else f"{type(each).__name__}: {each}" for each in found]


# What is made of it.


def test_a_request_is_as_it_is_wanted(lab: Lab) -> None:
    waiter = lambda request, error: None  # noqa: E731
    one = wanted(
        lab, delay=4.0, client="me", address="10.0.0.1", waiter=waiter, names=("n1",), key="k"
    )  # fmt: skip
    (request,) = lab.dispatcher.submit([one])
    assert isinstance(request, Request) and request.target is one.target
    assert (request.action, request.delay, request.client, request.address) == (Action.OFF, 4.0, "me", "10.0.0.1")
    assert (request.accepted, request.accepted_uptime, request.boot) == (1_000_500.0, 500.0, "boot")
    assert (request.names, request.key, request.waiters, request.soft) == (("n1",), "k", [waiter], None)
    assert request.remaining == [A] and isinstance(request.remaining, list)
    (other,) = lab.dispatcher.submit([wanted(lab, A2)])
    assert isinstance(other, Request) and other.waiters == []


@pytest.mark.parametrize(
    ("action", "phase"), [(Action.ON, Phase.ON), (Action.OFF, Phase.OFF), (Action.REBOOT, Phase.OFF)]
)
def test_a_request_begins_with_its_first_phase(lab: Lab, action: Action, phase: Phase) -> None:
    (request,) = lab.dispatcher.submit([wanted(lab, action=action)])
    assert isinstance(request, Request) and request.phase is phase


@pytest.mark.parametrize(
    ("outlets", "restarts", "soft", "phase"),
    [
        ((A,), True, None, Phase.RESTART),
        ((A,), False, None, Phase.OFF),
        ((A, B), True, None, Phase.OFF),
        ((A,), True, 60.0, Phase.OFF),
    ],
)
def test_a_device_that_restarts_by_itself_does(
    lab: Lab, outlets: tuple[Outlet, ...], restarts: bool, soft: float | None, phase: Phase
) -> None:
    pdus = {
        name: replace(pdu, traits=replace(pdu.traits, restarts=restarts, shuts_down=True))
        for name, pdu in lab.config.pdus.items()
    }
    config = replace(lab.config, pdus=pdus)
    made = lab.dispatcher._acceptance._request(
        config, Submission(Action.REBOOT, Target("x", outlets, found_in=config.mark), soft=soft, hard=False)
    )
    assert isinstance(made, Request) and made.phase is phase
    assert (made.soft is None) is (soft is None) and (
        made.soft is None or (made.soft.seconds, made.soft.hard) == (60.0, False)
    )


def test_what_cannot_be_asked_to_shut_down_is_refused(lab: Lab) -> None:
    (error,) = lab.dispatcher.submit([wanted(lab, soft=60.0)])
    assert isinstance(error, NoShutdown) and "cannot be asked to shut down" in str(error)
    (error,) = lab.dispatcher.submit([wanted(lab, action=Action.ON, soft=60.0)])
    assert isinstance(error, NoShutdown) and "soft: is for off and reboot" in str(error)
    assert lab.jobs == [] and lab.store.rows(9) == []
    found = submit(lab, wanted(lab, action=Action.ON, soft=60.0), wanted(lab, B))
    assert found == ["NoShutdown: soft: is for off and reboot, not for on", "1"], "the others are accepted"


def test_what_a_target_means_is_looked_up_anew_after_a_reload_and_only_then(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = wanted(lab)
    config = replace(lab.config, locked={A: "mine"})
    lab.dispatcher.reload(config)
    (error,) = lab.dispatcher.submit([before])
    assert isinstance(error, Locked) and "mine" in str(error)
    current = lab.dispatcher.config
    asked: list[Target] = []
    look_up = type(current).current

    def noted(config: Any, target: Target) -> Target:
        asked.append(target)
        return look_up(config, target)

    monkeypatch.setattr(type(current), "current", noted)
    (request,) = lab.dispatcher.submit([Submission(Action.OFF, current.target("b", "1"))])
    assert isinstance(request, Request) and asked == []
    lab.dispatcher.submit([before])
    assert asked == [before.target]


def test_what_is_not_there_any_more_is_told(lab: Lab) -> None:
    before = wanted(lab, B)
    lab.dispatcher.reload(replace(lab.config, pdus={"a": lab.config.pdus["a"]}))
    (error,) = lab.dispatcher.submit([before])
    assert isinstance(error, RequestError) and "b" in str(error)


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_names_on_the_device_are_looked_up_where_there_may_be_any(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, by_name: bool, named: bool
) -> None:
    config = replace(lab.config, locked={Outlet("b", "name:router"): "mine"} if named else {})
    target = config.target("a", "name:router" if by_name else "1")
    seen: list[Target] = []

    def resolved(target: Target, config: Any, **_: Any) -> Target:
        seen.append(target)
        return target

    monkeypatch.setattr(lab.dispatcher.surveys, "resolved", resolved)
    made = lab.dispatcher._acceptance._request(config, Submission(Action.OFF, target))
    assert isinstance(made, Request) and bool(seen) is (by_name or named)


# Whether there is room.


def test_a_pdu_has_room_for_so_many(make: Callable[..., Lab]) -> None:
    """Of those that are asked for at once each takes its place, and the others are accepted all the same."""
    lab = make(daemon={"max_queue": 3})
    assert submit(lab, wanted(lab), wanted(lab, A2)) == ["1", "2"]
    full = "Busy: a: its queue is full: 3 requests"
    assert submit(lab, wanted(lab), wanted(lab), wanted(lab, B), wanted(lab)) == ["3", full, "4", full]
    assert submit(lab, wanted(lab, B), wanted(lab, B), wanted(lab, B)) == [
        "5",
        "6",
        "Busy: b: its queue is full: 3 requests",
    ]
    lab.dispatcher.cancel(1)
    assert submit(lab, wanted(lab), wanted(lab)) == ["7", full]


def test_a_node_needs_room_at_all_its_pdus(make: Callable[..., Lab]) -> None:
    lab = make(daemon={"max_queue": 2})
    node = Submission(Action.OFF, Target("n", (A, B), found_in=lab.config.mark))
    assert submit(lab, wanted(lab, B), wanted(lab, B)) == ["1", "2"]
    assert submit(lab, node, wanted(lab), wanted(lab), wanted(lab)) == [
        "Busy: b: its queue is full: 2 requests", "3", "4", "Busy: a: its queue is full: 2 requests",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("daemon", "room"),
    [
        ({"max_queue": 20, "max_queue_per_address": 2}, 2),
        ({"max_queue": 20}, 3),
        ({"max_queue": 16}, 4),
        ({"max_queue": 24}, 6),
        ({"max_queue": 24, "max_queue_per_address": 1}, 1),
    ],
)
def test_an_address_has_room_for_fewer(
    make: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, daemon: dict[str, int], room: int
) -> None:
    monkeypatch.setattr(acceptance, "FEW", 3 if daemon["max_queue"] == 20 and len(daemon) == 1 else 1)
    if daemon == {"max_queue": 20}:
        daemon = {"max_queue": 11}
    lab = make(daemon=daemon)
    found = submit(lab, *[wanted(lab, address="x")] * (room + 1), wanted(lab, address="y"), wanted(lab))
    full = f"Busy: a: its queue is full for x: {room} requests are from there"
    assert found == [*map(str, range(1, room + 1)), full, str(room + 1), str(room + 2)]
    assert submit(lab, wanted(lab, address="x"), wanted(lab, B, address="x")) == [full, str(room + 3)]


@pytest.mark.parametrize(
    ("waiting", "queued", "room"), [(2, 0, True), (3, 0, False), (4, 1, False), (4, 2, True), (3, 3, True)]
)
def test_what_the_device_has_not_passed_over_takes_room(
    make: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, waiting: int, queued: int, room: bool
) -> None:
    """But for questions, which are counted by themselves."""
    lab = make(daemon={"max_queue": 3})
    monkeypatch.setattr(type(lab.runners["a"]), "waiting", waiting)
    lab.dispatcher._queries.queued["a"] = queued
    full = f"Busy: a: its queue is full: {waiting - queued} steps, and the device does not get on"
    assert submit(lab, wanted(lab)) == (["1"] if room else [full])


def test_one_that_is_stuck_or_goes_takes_nothing(lab: Lab) -> None:
    lab.runners["a"].device.stuck = "a"
    assert submit(lab, wanted(lab), wanted(lab, B)) == [
        "Busy: a: stuck: an action has not come back from the device", "1",
    ]  # fmt: skip
    lab.dispatcher._fleet.closing = True
    assert submit(lab, wanted(lab, B)) == ["Busy: the daemon is stopping"]


# Keys.


def heard(told: Told, name: str) -> Callable[..., None]:
    return lambda request, error: told.append((name, error))


def test_a_key_twice_is_one_request_for_which_both_wait(lab: Lab) -> None:
    told: Told = []
    first, second, third = (wanted(lab, key="k", waiter=heard(told, name)) for name in "abc")
    assert submit(lab, first, wanted(lab, B), second) == ["1", "2", "1"]
    assert submit(lab, third, wanted(lab, A2), wanted(lab, key="k")) == ["1", "3", "1"]
    lab.begin(lab.jobs[0])
    lab.end(lab.jobs[0])
    assert sorted(told, key=str) == [("a", None), ("b", None), ("c", None)]
    late: Told = []
    assert submit(lab, wanted(lab, key="k", waiter=heard(late, "d"))) == ["1"] and late == [("d", None)]
    assert len(lab.store.rows(9)) == 3


@pytest.mark.parametrize("other", [{"action": Action.ON}, {"delay": 3.0}, {"outlet": A2}])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_key_is_for_the_same_request_alone(lab: Lab, other: dict[str, Any], at_once: bool) -> None:
    told: Told = []
    first, second = wanted(lab, key="k"), wanted(lab, key="k", waiter=heard(told, "a"), **other)
    found = submit(lab, first, second) if at_once else [*submit(lab, first), *submit(lab, second)]
    assert found == ["1", "KeyUsed: the idempotency key 'k' is that of another request"] and told == []
    assert submit(lab, wanted(lab, key=200 * "x"), wanted(lab, B, key=200 * "x"))[1].count("x") == 100


def test_a_key_of_a_request_that_was_refused_is_free(make: Callable[..., Lab]) -> None:
    lab = make(daemon={"max_queue": 1})
    assert submit(lab, wanted(lab), wanted(lab, key="k"), wanted(lab, B, key="k"))[2] == "2"


def test_a_key_of_a_command_is_none_of_a_request(lab: Lab) -> None:
    command = Command(Action.OFF, "me", 5.0, ("n1",), key="c")
    assert submit(lab, wanted(lab, names=("n1",)), command=command) == ["1"]
    assert submit(lab, wanted(lab, key="c")) == ["KeyUsed: the idempotency key 'c' is that of a command"]
    submit(lab, wanted(lab, key="r"))
    other = Command(Action.OFF, "me", 5.0, ("n1",), key="r")
    assert (
        submit(lab, wanted(lab, names=("n1",)), wanted(lab, B), command=other)
        == ["KeyUsed: the idempotency key 'r' is that of another request"] * 2
    )


def test_a_command_twice_is_what_was_accepted(make: Callable[..., Lab]) -> None:
    """With what was refused then refused again, though there were room now."""
    lab = make(daemon={"max_queue": 1})
    told: Told = []

    def ask(
        names: tuple[str, ...] = ("n1", "n2"), action: Action = Action.OFF, delay: float = 0.0
    ) -> tuple[Command, list[str]]:
        command = Command(action, "me", 5.0 + len(told), names, key="c")
        each = (
            wanted(lab, A, action, names=("n1",), delay=delay, waiter=heard(told, "n1")),
            wanted(lab, A2, action, names=("n2",), waiter=heard(told, "n2")),
            wanted(lab, B, action),
        )
        return command, submit(lab, *each, command=command)

    command, found = ask()
    assert found == ["1", "Busy: a: its queue is full: 1 requests", "2"] and (command.id, command.accepted) == (1, 5.0)
    told.append(("", None))
    again, found = ask()
    refused = "RequestEnded: was refused when command 1 was accepted"
    assert found == ["1", refused, refused] and (again.id, again.accepted) == (1, 5.0)
    used = ["KeyUsed: the idempotency key 'c' is that of another command"] * 3
    assert ask(names=("n1",))[1] == ask(action=Action.ON)[1] == ask(delay=2.0)[1] == used
    told.clear()
    lab.begin(lab.jobs[0])
    lab.end(lab.jobs[0])
    assert told == [("n1", None), ("n1", None)]
    assert ask()[1][0] == "1" and told[2:] == [("n1", None)]


def test_a_command_without_a_key_is_another_each_time(lab: Lab) -> None:
    for number in ("1", "2"):
        command = Command(Action.OFF, "me", 5.0, ("n1",))
        assert submit(lab, wanted(lab, names=("n1",)), command=command) == [number] and str(command.id) == number


# The store and the disk.


def test_what_the_store_does_not_take_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("full")

    monkeypatch.setattr(lab.store, "add_all", refuse)
    lab.runners["b"].device.stuck = "b"
    found = submit(lab, wanted(lab), wanted(lab, B), wanted(lab, A2))
    assert found == [
        "StoreError: full",
        "Busy: b: stuck: an action has not come back from the device",
        "StoreError: full",
    ]
    assert lab.jobs == [] and lab.dispatcher._lanes.live == {}


def test_a_store_that_takes_something_is_written_to_again(lab: Lab) -> None:
    lab.dispatcher._lock.refused = True
    submit(lab, wanted(lab))
    assert lab.dispatcher._lock.refused is False


@pytest.mark.parametrize("fsync", ["all", "debts"])
def test_the_disk_is_asked_where_that_is_configured(
    make: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, fsync: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it does not take has ended, unless it has begun, or had ended before."""
    try:
        lab = make(daemon={"fsync": fsync})
    except PDUDaemonError:
        lab = make()
        fsync = "none"
    asked: list[bool] = []

    def refuse() -> None:
        asked.append(lab.dispatcher._acceptance.entering.locked())
        live = lab.dispatcher._lanes.live
        live[1].started = 5.0
        live[2].ended = 6.0
        raise StoreError("full")

    monkeypatch.setattr(lab.store, "sync", refuse)
    lab.runners["b"].device.stuck = "b"
    found = submit(lab, wanted(lab), wanted(lab, A2), wanted(lab, Outlet("a", "3")), wanted(lab, B))
    stuck = "Busy: b: stuck: an action has not come back from the device"
    if fsync == "all":
        assert found == ["1", "2", "StoreError: full", stuck] and asked == [False]
        assert lab.store.record(3)["state"] == "failed" and caplog.messages[-1] == "full"
    else:
        assert found == ["1", "2", "3", stuck] and asked == []


def test_what_is_accepted_is_logged_for_those_who_develop_it(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pdud.dispatcher")
    submit(lab, wanted(lab))
    assert caplog.messages == []
    caplog.set_level("DEBUG", "pdud.dispatcher")
    lab.runners["b"].device.stuck = "b"
    submit(lab, wanted(lab, delay=2.0, client="me"), wanted(lab, B))
    assert [each for each in caplog.messages if "accepted" in each] == [
        "request 2: off a port 1, delay 2 s, accepted from me"
    ]


def test_errors_are_of_their_kinds() -> None:
    assert issubclass(KeyUsed, RequestError) and issubclass(Busy, RequestError) and issubclass(Locked, RequestError)
