# SPDX-License-Identifier: MIT
"""`Jobs`, step by step: what is asked and told of a job, and what becomes of the place, the device and its file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import jobs
from pdudaemon.engine.device import Device
from pdudaemon.engine.jobs import Doing, Driving
from pdudaemon.engine.pool import Place, Pool
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError
from pdudaemon.power import State
from tests.support.locks import free
from tests.support.played import Bench, Job


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    return lambda *words, **more: Bench(tmp_path, monkeypatch, *words, **more)


def doing(lab: Bench, job: Any = None, unaided: bool = False) -> Doing[None]:
    """Begin with a job as who is at it does, aided or not."""
    lab.runner.unaided = unaided
    return lab.runner._doing(job or Job("1"))


def done(steps: Doing[None]) -> list[str]:
    """Go on to the end; return what there was to wait for."""
    return ["thread" if each is None else "talk" for each in steps]


def placed(lab: Bench, pool: Pool) -> Place:
    """Have the worker have a place."""
    place = Place(lambda: True)
    pool.ask(place)
    lab.runner._place = place
    return place


# The file.


def test_the_file_is_kept_after_what_went_well(bench: Callable[..., Bench]) -> None:
    lab = bench()
    assert lab.runner.unaided is False
    assert done(doing(lab)) == [] and lab.told == [("1", None, "")]
    assert lab.device.kept and not free(lab.file) and not lab.device.lock.locked() and lab.device.last_action > 0


@pytest.mark.parametrize("why", ["not wanted", "failed", "pool", "survey", "fault"])
def test_the_file_is_given_back_after_anything_else(bench: Callable[..., Bench], why: str) -> None:
    lab = bench(Pool(1) if why == "pool" else None)
    if why == "failed":
        lab.raises = DeviceError("refused")
    if why == "fault":
        lab.fault = ValueError("of ours")
    lab.wanted = why != "not wanted"
    job = Survey("pdu", True, None) if why == "survey" else None
    try:
        done(doing(lab, job))
    except ValueError:
        assert why == "fault"
    assert not lab.device.kept and free(lab.file) and not lab.device.lock.locked()
    assert (lab.done == []) is (why in ("not wanted", "fault"))
    assert [said for _, _, said in lab.told] == {
        "not wanted": [], "failed": ["pdu: refused"], "pool": [""], "survey": [""], "fault": ["pdu: ValueError: of ours"],
    }[why]  # fmt: skip


def test_a_fault_of_ours_is_one_for_whoever_does_the_job(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.fault = ValueError("of ours")
    with pytest.raises(ValueError, match="of ours"):
        done(doing(lab))


@pytest.mark.parametrize("wanted", [True, False])
def test_what_another_process_has_is_told_if_it_is_still_wanted(bench: Callable[..., Bench], wanted: bool) -> None:
    lab = bench(timeout=1)
    lab.wanted = wanted
    lab.file.touch()
    with lab.file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        lab.runner._may_be_stopped()
        lab.runner._stopping.set()  # so that it is not waited for
        assert done(doing(lab)) == []
    assert lab.told == [("1", None, "pdu: busy: stopping")] * wanted and lab.done == []
    assert not lab.device.lock.locked() and not lab.device.kept


def test_a_file_that_cannot_be_had_is_told(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    lab = bench()
    for error in (OSError(5, "Input/output error"), ValueError("odd")):

        def refuse(*_: Any, error: Exception = error) -> int:
            raise error

        monkeypatch.setattr(lab.device, "take", refuse)
        assert done(doing(lab)) == []
    assert lab.told == [("1", None, "pdu: Input/output error"), ("1", None, "pdu: ValueError: odd")] and lab.done == []


# What is waited for.


def test_one_that_is_unaided_hands_over_before_it_waits(bench: Callable[..., Bench]) -> None:
    """And only then; nothing has been done until it goes on."""
    lab = bench(Pool(1), converses=True)
    pool = lab.runner._pool
    assert pool is not None
    placed(lab, pool)
    assert done(doing(lab, unaided=True)) == ["talk"] and lab.told == [("1", State.ON, "")]
    assert lab.runner._place is not None
    steps = doing(lab, Job("2", lengthy=True), unaided=True)
    assert next(steps) is None and lab.done == ["1"] and not lab.device.lock.locked()
    lab.runner.unaided = False
    assert done(steps) == [] and lab.done == ["1", "2"]
    assert done(doing(lab, Job("3", lengthy=True))) == []


def test_one_that_is_unaided_hands_over_a_file_that_another_process_has(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool, converses=True)
    placed(lab, pool)
    lab.file.touch()
    with lab.file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        steps = doing(lab, unaided=True)
        assert next(steps) is None and lab.device.lock.locked() and lab.told == []
    lab.runner.unaided = False
    assert done(steps) == ["talk"] and lab.told == [("1", State.ON, "")] and not lab.device.lock.locked()


def test_one_that_is_unaided_hands_over_what_is_no_conversation(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool)
    placed(lab, pool)
    steps = doing(lab, unaided=True)
    assert next(steps) is None and lab.done == []
    lab.runner.unaided = False
    assert done(steps) == [] and lab.done == ["1"]


def test_one_that_has_a_thread_hands_over_nothing(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool, min_interval=1)
    lab.runner._may_be_stopped()
    lab.runner._stopping.set()
    lab.device.last_action = lab.now
    lab.runner.change(lab.runner.pdu, lab.device, pool)
    assert done(doing(lab, Job("1", lengthy=True))) == [] and lab.done == ["1"]
    assert not pool._since and lab.runner._place is None


def test_who_waits_for_the_device_has_no_place_meanwhile(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is had again before the driver acts."""
    pool = Pool(1)
    lab = bench(pool)
    placed(lab, pool)
    lab.device.lock.acquire()
    steps = doing(lab, unaided=True)
    assert next(steps) is None and not pool._since and lab.runner._place is None
    lab.device.lock.release()
    assert next(steps) is None and lab.done == [] and not pool._since, "to wait for a place"
    lab.runner.unaided = False
    crowds: list[object] = []
    place = pool.place

    def noted(crowd: Hashable = None) -> AbstractContextManager[None]:
        crowds.append(crowd)
        return place(crowd)

    monkeypatch.setattr(pool, "place", noted)
    assert done(steps) == [] and lab.done == ["1"] and crowds == [None] and not pool._since
    assert done(doing(lab, Job("2", crowd="many"))) == [] and crowds == [None, "many"]
    placed(lab, pool)
    assert done(doing(lab, Job("3", crowd="many"))) == [] and len(crowds) == 2, "it has one"


def test_whose_device_is_free_keeps_its_place(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool)
    place = placed(lab, pool)
    assert done(doing(lab)) == [] and lab.runner._place is place and [*pool._since] == [place]


class Rests(list[float]):
    """An event for which nobody waits; what would have been waited for."""

    def wait(self, seconds: float) -> bool:
        self.append(seconds)
        return False


def test_a_device_rests_for_what_is_left_of_its_interval_without_a_place(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool, min_interval=900)
    lab.runner._stopping = rests = Rests()  # type: ignore[assignment]
    placed(lab, pool)
    assert done(doing(lab)) == [] and rests == [] and pool._since, "nothing was done before"
    lab.device.last_action = lab.now - 300
    steps = doing(lab, Job("2"), unaided=True)
    assert next(steps) is None and lab.done == ["1"] and not pool._since and rests == []
    lab.runner.unaided = False
    assert done(steps) == [] and lab.done == ["1", "2"]
    assert len(rests) == 1 and 0 < rests[0] <= 600
    rests.clear()
    lab.device.last_action = lab.now - 901
    assert done(doing(lab, Job("3"))) == [] and rests == []
    lab.device.last_action = lab.now
    assert done(doing(lab, Job("4"))) == [] and len(rests) == 1 and 0 < rests[0] <= 900


@pytest.mark.parametrize(("left", "rests"), [(0.5, [0.5]), (0.0, []), (-0.5, [])])
def test_it_rests_for_a_moment_as_well(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, left: float, rests: list[float]
) -> None:
    pool = Pool(1)
    lab = bench(pool, min_interval=8)
    lab.runner._stopping = rested = Rests()  # type: ignore[assignment]
    placed(lab, pool)
    monkeypatch.setattr(jobs, "time", type("Clock", (), {"monotonic": lambda: 500.0}))
    lab.device.last_action = 492.0 + left
    assert done(doing(lab)) == [] and rested == rests and lab.done == ["1"]
    assert bool(pool._since) is not bool(rests), "who rests has no place"


def test_without_an_interval_it_does_not_rest(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.runner._stopping = rests = Rests()  # type: ignore[assignment]
    assert done(doing(lab)) == done(doing(lab)) == [] and rests == []


# The driver.


@pytest.mark.parametrize("took", [0.0, 60.0])
def test_whether_it_came_back_at_once_is_noted(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, took: float
) -> None:
    lab = bench()
    now = [500.0]

    def acted(_: object) -> None:
        now[0] += took

    monkeypatch.setattr(lab, "acted", acted)
    monkeypatch.setattr(jobs, "time", type("Clock", (), {"monotonic": lambda: now[0]}))
    noted: list[float] = []
    monkeypatch.setattr(lab.runner, "_promptness", type("Noting", (), {"add": noted.append}))
    assert done(doing(lab)) == [] and noted == [took]


def test_one_that_has_failed_is_not_prompt(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.raises = DeviceError("refused")
    done(doing(lab))
    assert not lab.runner._promptness.enough


def test_a_survey_is_told_without_a_state(bench: Callable[..., Bench]) -> None:
    lab = bench()
    survey = Survey("pdu", True, None)
    lab.prompt()
    assert done(doing(lab, survey)) == [] and lab.done == ["all"] and lab.told == [("", None, "")]
    assert survey.found is not None and survey.found.outlets == []


@pytest.mark.parametrize(("order", "state"), [("status", State.ON), ("on", None)])
def test_a_state_is_told_of_a_question(bench: Callable[..., Bench], order: str, state: State | None) -> None:
    lab = bench()
    assert done(doing(lab, Job("1", order=order))) == [] and lab.told == [("1", state, "")]


def test_what_takes_its_time_is_no_conversation(bench: Callable[..., Bench]) -> None:
    lab = bench(Pool(1), converses=True)
    assert done(doing(lab, Job("1", lengthy=True, order="status"))) == []
    assert lab.drivers and lab.told == [("1", State.ON, "")]
    assert done(doing(lab, Job("2"))) == ["talk"] and len(lab.drivers) == 1


def test_a_driver_has_the_descriptor_of_the_file(bench: Callable[..., Bench]) -> None:
    lab = bench()
    done(doing(lab))
    lock = lab.drivers[0].lock_fd
    assert lock is not None and os.path.samestat(os.fstat(lock), lab.file.stat())


def test_what_a_driver_forks_ends_where_it_comes_back(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = bench()
    children: list[int] = []
    tester = os.getpid()

    def acted(_: object) -> None:
        child = os.fork()
        if child:
            children.append(child)

    monkeypatch.setattr(lab, "acted", acted)
    try:
        done(doing(lab))
    finally:
        if os.getpid() != tester:
            os._exit(9)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [1]
    assert lab.told == [("1", None, "")]


# Another configuration.


def test_one_that_has_changed_is_another_from_its_next_job_on(bench: Callable[..., Bench]) -> None:
    """Of several the last, with a driver made anew."""
    lab = bench()
    lab.prompt()
    done(doing(lab))
    first, second = (replace(lab.runner.pdu, name=name) for name in ("first", "second"))
    others = Device(None), Device(lab.file.parent / "other")
    lab.runner.change(first, others[0], Pool(1))
    lab.runner.change(second, others[1], None)
    assert lab.runner.pdu.name == "pdu" and lab.runner._promptness.enough
    lab.raises = DeviceError("refused")
    assert done(doing(lab, Job("2"))) == []
    assert (lab.runner.pdu, lab.runner.device, lab.runner._pool) == (second, others[1], None)
    assert lab.told[1:] == [("2", None, "second: refused")] and lab.drivers[0] is not lab.drivers[1]
    assert lab.runner._changes == []


def test_one_that_has_changed_is_trusted_anew(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.runner.change(lab.runner.pdu, lab.device, None)
    done(doing(lab))
    assert not lab.runner._promptness.enough


@pytest.mark.parametrize("same", [True, False])
def test_who_is_in_another_pool_has_no_place_of_the_former(bench: Callable[..., Bench], same: bool) -> None:
    pool, other = Pool(1), Pool(1)
    lab = bench(pool)
    place = placed(lab, pool)
    lab.runner.change(lab.runner.pdu, lab.device, pool if same else other)
    steps = doing(lab, unaided=True)
    assert next(steps) is None and pool._since and lab.done == [], "it is made anew by a thread"
    lab.runner.unaided = False
    assert done(steps) == [] and lab.done == ["1"]
    assert [*pool._since] == [place] * same and not other._since
    assert (lab.runner._place is place) is same


def test_without_a_pool_there_is_no_place_to_give_back(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool)
    lab.runner._give_place_back()
    place = placed(lab, pool)
    lab.runner._give_place_back()
    assert not pool._since and lab.runner._place is None and place is not None


@pytest.mark.parametrize(
    ("traits", "options", "converses"),
    [
        ({"converses": True, "pool": ("all", 1)}, {}, True),
        ({"converses": False, "pool": ("all", 1)}, {}, False),
        ({"converses": True, "pool": None}, {}, False),
        ({"converses": True, "pool": ("all", 1)}, {"verify": True}, False),
        ({"converses": True, "pool": ("all", 1)}, {"min_interval": 1}, False),
        ({"converses": True, "pool": ("all", 1)}, {"verify": True, "min_interval": 1}, False),
    ],
)
def test_when_a_job_is_nothing_but_a_conversation(
    bench: Callable[..., Bench], traits: dict[str, Any], options: dict[str, Any], converses: bool
) -> None:
    pdu = bench(**options).runner.pdu
    assert Driving(replace(pdu, traits=replace(pdu.traits, **traits))).converses is converses
