# SPDX-License-Identifier: MIT
"""`PDURunner` where the test plays the threads: which one does a job, and what is left behind when it has."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import jobs, runner, threads
from pdudaemon.engine.device import KEPT
from pdudaemon.engine.pool import Place, Pool
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError
from pdudaemon.power import State
from tests.support.locks import free
from tests.support.played import Bench, Job


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """Of several the last one has what threads are begun for any of them."""
    folders = map("bench{}".format, itertools.count())

    def make(pool: Pool | None = None, converses: bool = False, **pdu: Any) -> Bench:
        folder = tmp_path / next(folders)
        folder.mkdir()
        return Bench(folder, monkeypatch, pool, converses, **pdu)

    return make


def test_one_thread_is_begun_for_all_that_there_is_to_do(bench: Callable[..., Bench]) -> None:
    lab = bench()
    assert lab.runner.waiting == 0 and not lab.runner.dead and lab.runner.join(0)
    lab.put("1", "2")
    assert lab.begun == ["pdu pdu"] and lab.runner.waiting == 2 and lab.done == []
    assert lab.runner.start() and lab.begun == ["pdu pdu"], "it has one"
    lab.runner.stop()
    lab.serve()
    assert lab.done == ["1", "2"] and lab.runner.waiting == 0
    assert lab.told == [("1", None, ""), ("2", None, "")]


def test_one_whose_thread_has_ended_is_dead_unless_it_was_to_end(bench: Callable[..., Bench]) -> None:
    lab = bench()
    assert str(lab.runner) == "the worker of pdu"
    lab.put("1")
    assert lab.runner.dead is True
    lab.runner._thread = threading.Thread()
    lab.runner.stop()
    assert lab.runner.dead is False


def test_without_a_thread_it_is_asked_for_again_later(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.refuses = True
    before = time.monotonic()
    lab.put("1")
    ((when, again),) = lab.later
    assert before + threads.PAUSE <= when <= time.monotonic() + threads.PAUSE
    again()
    assert len(lab.later) == 2 and lab.begun == []
    lab.refuses = False
    again()
    assert len(lab.later) == 2 and lab.begun == ["pdu pdu"]


def test_what_is_to_be_switched_cuts_a_survey_short(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.put("1", order="on")
    lab.device.survey = threading.Event()
    lab.put("2", order="status")
    assert not lab.device.survey.is_set()
    lab.put("3", order="off")
    assert lab.device.survey.is_set()


# Carried.


def test_one_that_comes_back_at_once_is_carried(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1", "2")
    assert lab.begun == [] and lab.runner.carried and len(lab.carrier._line) == 1 and lab.woken == 1
    lab.carrier.work()
    assert lab.done == ["1"] and lab.runner.carried and len(lab.carrier._line) == 1
    lab.carrier.work()
    assert lab.done == ["1", "2"] and lab.runner.carried is False and not lab.carrier._line
    lab.put("3")
    lab.carrier.work()
    assert lab.done == ["1", "2", "3"] and lab.begun == [] and lab.later[0][1] == lab.carrier._rest


@pytest.mark.parametrize("why", ["slow", "rests", "lengthy", "alone", "nobody leads"])
def test_one_that_cannot_be_carried_has_a_thread(bench: Callable[..., Bench], why: str) -> None:
    lab = bench(min_interval=1 if why == "rests" else 0)
    if why != "slow":
        lab.prompt()
    if why == "alone":
        lab.runner._carrier = None
    if why == "nobody leads":
        lab.carrier.leader = None
    lab.put("1", lengthy=why == "lengthy")
    assert not lab.carrier._line and lab.begun == ["pdu pdu"] and lab.runner.carried is False
    lab.runner.stop()
    lab.serve()
    assert lab.done == ["1"] and lab.told == [("1", None, "")]


def test_who_has_none_to_carry_it_any_more_has_a_thread(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """He may go at any moment."""
    lab = bench()
    lab.prompt()
    monkeypatch.setattr(lab.carrier, "carry", lambda _: False)
    lab.put("1")
    assert lab.begun == ["pdu pdu"]


def test_whoever_has_a_thread_is_not_carried_besides(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.put("1")
    lab.prompt()
    lab.put("2")
    assert lab.begun == ["pdu pdu"] and not lab.carrier._line and lab.runner.carried is False


def test_who_has_nobody_to_be_carried_by_keeps_its_thread(bench: Callable[..., Bench]) -> None:
    """However prompt it is."""
    lab = bench()
    assert lab.runner._at_once is False
    lab.prompt()
    assert lab.runner._at_once is True
    lab.carrier.leader = None
    assert lab.runner._at_once is False


def test_there_is_no_turn_for_who_is_not_carried(bench: Callable[..., Bench]) -> None:
    lab = bench()
    assert lab.runner.turn() is False
    lab.put("1")
    assert lab.runner.carried is False and lab.runner.turn() is False
    assert lab.done == [] and lab.runner.waiting == 1
    other = bench()
    other.runner.carried = True  # it has no queue yet
    assert other.runner.turn() is False and other.begun == []


def test_what_takes_its_time_is_left_to_a_thread(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1")
    lab.put("2", lengthy=True)
    lab.put("3")
    assert lab.runner.turn() is True and lab.done == ["1"] and lab.begun == []
    assert lab.runner.turn() is False and lab.done == ["1"]
    assert lab.begun == ["pdu pdu"] and lab.runner.carried is False and lab.runner.waiting == 2
    assert lab.runner.turn() is False and lab.done == ["1"], "it has the thread now"
    lab.runner.stop()
    lab.serve()
    assert lab.done == ["1", "2", "3"]


def test_without_a_thread_for_it_it_is_done_all_the_same(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1")
    lab.put("2", lengthy=True)
    lab.put("3")
    lab.refuses = True
    assert [lab.runner.turn() for _ in range(3)] == [True, True, False] and lab.done == ["1", "2", "3"]


def test_one_that_is_not_prompt_any_more_goes_on_with_a_thread(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1", "2", "3")
    lab.raises = DeviceError("refused")
    assert lab.runner.turn() is False and lab.begun == ["pdu pdu"] and lab.runner.carried is False
    assert lab.told == [("1", None, "pdu: refused")] and lab.runner.waiting == 2
    other = bench()
    other.prompt()
    other.put("1", "2")
    other.refuses, other.raises = True, DeviceError("refused")
    assert other.runner.turn() is True and other.runner.carried, "there is no thread"
    assert other.runner.turn() is False and other.done == ["1", "2"]


def test_one_whose_device_fails_last_needs_no_thread(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1")
    lab.raises = DeviceError("refused")
    assert lab.runner.turn() is False and lab.begun == [] and lab.runner.carried is False


def test_one_that_is_told_to_stop_is_not_carried_on(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1")
    assert lab.runner._queue is not None
    lab.runner._queue.get()
    lab.runner.stop()
    lab.runner._queue.put(Job("2"))
    assert lab.runner.turn() is False and lab.runner.carried is False and lab.done == []
    lab.runner._queue.get()
    lab.runner.carried = True
    assert lab.runner.turn() is False and lab.runner.carried is False, "there was nothing"


def test_a_thread_that_is_kept_is_the_workers(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1")
    thread = threading.Thread()
    lab.runner.keep(thread)
    assert thread.name == "pdu pdu" and lab.runner._thread is thread and lab.runner.carried is False
    assert not lab.runner._promptness.enough
    trusted = 0
    while not lab.runner._promptness.enough:
        lab.runner._promptness.add(0.0)
        trusted += 1
    assert trusted == 16, "it was a mistake"


def test_who_rests_has_neither_queue_nor_file(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    lab = bench()
    assert lab.runner.rest() is True
    lab.prompt()
    lab.put("1")
    lab.runner.turn()
    assert lab.device.kept and not free(lab.file)
    assert lab.runner.rest() is False and lab.runner._queue is None and lab.device.kept
    lab.device.last_action -= 60
    assert lab.runner.rest() is True and not lab.device.kept and free(lab.file)


def test_who_has_something_to_do_keeps_its_queue(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.prompt()
    lab.put("1", "2")
    lab.runner.turn()
    lab.runner.turn()
    lab.runner.carried = True  # it is about to be put something
    lab.runner.rest()
    assert lab.runner._queue is not None
    lab.runner.carried = False
    lab.runner._queue.put(Job("3"))
    lab.runner.rest()
    assert lab.runner.waiting == 1
    lab.device.last_action -= 60
    lab.runner.start()
    assert lab.runner.rest() is True and lab.device.kept, "its thread sees to that"
    assert lab.runner.waiting == 1


# With a thread of its own.


class Line(queue.Queue[Any]):
    """A queue that has some seconds pass where there is nothing in it; ``waits`` are for how long it was waited.

    ``last`` is made when one has waited for as long as an idle worker does.
    """

    def __init__(self, lab: Bench, *ports: str) -> None:
        super().__init__()
        self.lab = lab
        self.waits: list[float | None] = []
        self.last: Callable[[], object] = lambda: None
        for port in ports:
            self.put(Job(port))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self.waits.append(timeout)
        if self.empty():
            assert timeout is not None
            self.lab.device.last_action -= timeout
            if timeout != KEPT:
                last, self.last = self.last, lambda: None
                last()
            raise queue.Empty
        return super().get(block, timeout)


def served(lab: Bench, *ports: str) -> Line:
    line = lab.runner._queue = Line(lab, *ports)
    lab.serve()
    return line


def test_a_thread_gives_the_file_back_soon_and_ends_late(bench: Callable[..., Bench]) -> None:
    lab = bench()
    line = served(lab, "1", "2")
    assert lab.done == ["1", "2"] and free(lab.file)
    assert line.waits == [runner.IDLE, KEPT, KEPT, runner.IDLE]
    assert lab.runner._thread is None and lab.runner._queue is None
    assert lab.by == [("pdu pdu", True, False)] * 2


def test_a_thread_that_has_read_all_of_a_device_ends_soon(bench: Callable[..., Bench]) -> None:
    """Not one that has done anything since."""
    lab = bench()
    line = Line(lab)
    lab.runner._queue = line
    line.put(Survey("pdu", True, None))
    lab.serve()
    assert line.waits == [runner.IDLE, runner.AFTER_SURVEY] and lab.runner._thread is None
    other = Line(lab)
    lab.runner._queue = other
    other.put(Survey("pdu", True, None))
    other.put(Job("1"))
    lab.serve()
    assert other.waits == [runner.IDLE, runner.AFTER_SURVEY, KEPT, runner.IDLE]


def test_what_comes_in_the_very_moment_that_a_thread_is_to_end_is_done(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.runner._queue = line = Line(lab, "1")
    line.last = lambda: line.put(Job("2"))
    lab.serve()
    assert lab.done == ["1", "2"] and lab.runner._thread is None and lab.begun == []
    assert line.waits == [runner.IDLE, KEPT, runner.IDLE, runner.IDLE, KEPT, runner.IDLE]


def test_a_thread_whose_queue_has_gone_ends(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.runner._queue = line = Line(lab)
    line.last = lambda: setattr(lab.runner, "_queue", None)
    lab.serve()
    assert lab.runner._thread is None and line.waits == [runner.IDLE]


def test_a_thread_ends_at_once_where_it_can_be_done_without(bench: Callable[..., Bench]) -> None:
    """Once it has done what there is, and has given the file back."""
    lab = bench()
    lab.prompt()
    line = served(lab, "1", "2")
    assert lab.done == ["1", "2"] and line.waits == [runner.IDLE, KEPT]
    assert lab.runner._thread is None and lab.runner._queue is None and free(lab.file) and not lab.device.kept
    lab.put("3")
    assert len(lab.carrier._line) == 1 and lab.begun == []


@pytest.mark.usefixtures("meant")
def test_a_fault_of_ours_is_logged_and_the_next_job_done(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    lab = bench()
    lab.fault = ValueError("of ours")
    lab.runner._queue = line = Line(lab, "1")

    def mend() -> None:
        lab.fault = None
        line.put(Job("2"))

    line.last = mend
    lab.serve()
    assert lab.told == [("1", None, "pdu: ValueError: of ours"), ("2", None, "")]
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
        "the worker of pdu: internal error"
    ]
    assert "Traceback" in caplog.text


# In a pool.


def test_one_in_a_pool_waits_for_a_place_and_for_no_thread(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool)
    with pool.place():
        lab.put("1", "2")
        assert lab.begun == ["pool"] and lab.runner.waiting == 2 and lab.runner._queue is None
        lab.begun.clear()
    assert lab.begun == ["pdu pdu"]
    lab.serve()
    assert lab.done == ["1", "2"] and lab.runner._thread is None and lab.runner._queue is None
    assert not pool._since and not pool._line and lab.runner._place is None


def test_a_thread_goes_on_to_who_is_next(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab, other = bench(pool), bench(pool)
    lab.put("1")
    other.put("2", "3")
    lab.serve()
    assert (lab.done, other.done) == (["1"], ["2", "3"])
    assert other.begun == ["pdu pdu", "pool"] and not pool._since and not pool._line


def test_one_that_leaves_at_the_end_gives_its_place_back(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool)
    lab.put("1")
    lab.runner.stop()
    assert lab.runner._queue is not None
    lab.runner._queue.get()  # it was at that already
    lab.serve()
    assert not pool._since and lab.done == [] and lab.runner._place is None


# Conversations.


def test_a_conversation_has_no_thread(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool, converses=True)
    lab.put("1", "2", crowd="x")
    assert lab.begun == [] and lab.runner.waiting == 2 and not lab.talks
    (place,) = pool._since
    assert place.crowd == "x" and place.serve is None
    lab.call()
    assert lab.runner.unaided and lab.runner._under_way is not None and lab.runner.waiting == 1
    lab.put("3")
    assert lab.soon == [] and lab.begun == [], "one at a time"
    lab.end_talk()
    assert lab.told == [("1", State.ON, "")] and lab.runner.unaided is False and lab.runner._under_way is None
    lab.call()
    lab.end_talk()
    lab.call()
    lab.end_talk()
    assert lab.done == ["1", "2", "3"] and lab.runner.waiting == 0
    assert not pool._since and not pool._line and lab.begun == [] and lab.waited == []


def test_what_is_no_conversation_has_a_thread_in_its_turn(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool, converses=True)
    lab.put("1")
    lab.put("2", lengthy=True)
    lab.put("3")
    lab.call()
    lab.end_talk()
    assert lab.soon == [] and lab.begun == ["pdu pdu"]
    (place,) = pool._since
    assert place.serve is not None
    lab.serve()
    assert lab.done == ["1", "2"] and lab.runner._queue is not None and lab.runner.waiting == 1
    lab.call()
    lab.end_talk()
    assert lab.done == ["1", "2", "3"] and lab.runner._queue is None and lab.waited == []


def test_one_that_needs_a_thread_after_all_goes_on_with_it(bench: Callable[..., Bench]) -> None:
    """As another process has its device: who is at it waits for all that there is to wait for."""
    pool = Pool(1)
    lab = bench(pool, converses=True)
    lab.put("1", "2")
    lab.device.lock.acquire()
    lab.call()
    assert lab.begun == ["pdu pdu"] and lab.runner._under_way is not None and not pool._since, "it makes no use of it"
    lab.device.lock.release()
    lab.serve()
    assert lab.waited == [1]
    assert lab.done == ["1"] and lab.runner.unaided is False and lab.by == [("pdu pdu", True, False)]
    lab.call()
    lab.end_talk()
    assert lab.done == ["1", "2"] and lab.runner._under_way is None


def test_who_waits_for_its_device_asks_for_no_place_meanwhile(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where something comes in the very moment, nor once it has a thread for that."""
    pool = Pool(1)
    lab = bench(pool, converses=True)
    lab.put("1")
    lab.device.lock.acquire()
    leave = pool.leave

    def left(place: Place) -> None:
        leave(place)
        lab.put("2")

    monkeypatch.setattr(pool, "leave", left)
    lab.call()
    assert lab.begun == ["pdu pdu"] and not pool._since and not pool._line
    lab.put("3")
    assert lab.begun == ["pdu pdu"] and not pool._since and not pool._line and lab.soon == []


def test_without_that_thread_it_waits_for_one(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1)
    lab = bench(pool, converses=True)
    monkeypatch.setattr(threads, "PAUSE", 0.0)
    lab.put("1")
    lab.device.lock.acquire()
    lab.refuses = True
    lab.call()
    assert lab.begun == [] and not pool._since
    (line,) = pool._line.values()
    assert len(line) == 1 and lab.runner._place is line[0], "it is first in line again"
    lab.put("2")
    assert len(line) == 1
    lab.device.lock.release()
    lab.refuses = False
    pool._hand_out()
    assert lab.begun == ["pdu pdu"]
    lab.serve()
    assert lab.done == ["1"]
    lab.call()
    lab.end_talk()
    assert lab.done == ["1", "2"] and not pool._since and not pool._line


def test_one_that_keeps_its_place_waits_with_it(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1)
    lab = bench(pool, converses=True)
    monkeypatch.setattr(threads, "PAUSE", 0.0)
    lab.put("1")
    (place,) = pool._since
    lab.runner._driving.converses = False  # it has been another since
    lab.refuses = True
    lab.call()
    assert lab.begun == [] and lab.runner._place is place and next(iter(pool._line.values()))[0] is place
    lab.refuses = False
    pool._hand_out()
    assert lab.begun == ["pdu pdu"] and lab.soon == []
    lab.serve()
    assert lab.done == ["1"] and not pool._since and not pool._line


def test_who_is_next_and_finds_no_thread_is_put_off(bench: Callable[..., Bench]) -> None:
    pool = Pool(1)
    lab = bench(pool, converses=True)
    lab.put("1")
    lab.put("2", lengthy=True)
    lab.call()
    lab.refuses = True
    lab.end_talk()
    assert lab.done == ["1"] and not pool._since and len(pool._line) == 1
    lab.refuses = False
    pool._rest_until = 0.0
    pool._hand_out()
    lab.serve()
    assert lab.done == ["1", "2"]


@pytest.mark.usefixtures("meant")
def test_a_fault_of_ours_in_a_conversation_is_logged_and_ends_it(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = Pool(1)
    lab = bench(pool, converses=True)
    lab.put("1", "2")

    def fault(*_: Any) -> Any:
        raise AssertionError("of ours")

    with monkeypatch.context() as patched:
        patched.setattr(lab.runner, "_carry_out", fault)
        lab.call()
    assert [(each.message, each.levelname) for each in caplog.records if each.name == "pdud.runner"] == [
        ("the worker of pdu: internal error", "ERROR")
    ]
    assert "of ours" in caplog.text and lab.runner._under_way is None and not lab.runner.unaided
    lab.call()
    lab.end_talk()
    assert lab.done == ["2"] and not pool._since and not pool._line and not lab.device.lock.locked()


def test_what_fails_in_a_conversation_is_told(bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    lab = bench(Pool(1), converses=True)
    lab.put("1")
    lab.raises = DeviceError("refused")
    lab.call()
    lab.end_talk()
    assert lab.told == [("1", None, "pdu: refused")] and caplog.records == []


# The end.


def test_one_that_has_nothing_to_do_has_nothing_to_end(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.runner.stop()
    assert lab.runner._queue is None and lab.runner._stopping is jobs.NEVER and not jobs.NEVER.is_set()
    lab.put("1")
    assert lab.runner._stopping.is_set() and lab.runner._stopping is not jobs.NEVER, "what comes after it does not wait"


def test_one_that_has_something_to_do_is_told(bench: Callable[..., Bench]) -> None:
    lab = bench()
    lab.put("1")
    stopping = lab.runner._stopping
    assert not stopping.is_set() and stopping is not jobs.NEVER
    lab.runner.stop()
    assert stopping.is_set() and lab.runner.waiting == 2
    pool = Pool(1)
    with pool.place():
        held = bench(pool)
        held.put("1")
        held.runner.stop()
        assert held.runner.waiting == 2 and held.runner._stopping.is_set() and held.runner._held == []


def test_one_in_a_conversation_is_told_and_waited_for(bench: Callable[..., Bench]) -> None:
    lab = bench(Pool(1), converses=True)
    lab.put("1")
    lab.call()
    assert lab.runner._stopping is not jobs.NEVER and not lab.runner._stopping.is_set()
    lab.runner.stop()
    assert lab.runner._stopping.is_set() and lab.runner.waiting == 1
    begun = time.monotonic()
    assert lab.runner.join(0.05) is False and time.monotonic() - begun >= 0.05
    ended = queue.SimpleQueue[bool]()
    waits = threading.Thread(target=lambda: ended.put(lab.runner.join(60)))
    lab.device.lock.release()
    waits.start()
    assert ended.get(timeout=60) is True and not lab.device.lock.locked()
    waits.join()
    lab.device.lock.acquire()
    lab.end_talk()
    assert lab.told == [("1", State.ON, "")]


def test_a_thread_is_waited_for(bench: Callable[..., Bench]) -> None:
    lab = bench()
    go = threading.Event()
    lab.runner._thread = thread = threading.Thread(target=lambda: go.wait(60))
    thread.start()
    assert lab.runner.join(0.01) is False and lab.runner.dead is False
    go.set()
    assert lab.runner.join(60) is True and lab.runner.dead is True
