# SPDX-License-Identifier: MIT
"""The log is kept short and the history as well, behind the backs of those who write, and whatever the machine refuses."""

from __future__ import annotations

import itertools
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storeupkeep, walfile
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.storage.storeupkeep import Upkeep
from pdudaemon.errors import NoSuchRequest
from pdudaemon.power import Action, Command, Outlet
from tests.support.process import eventually, full_disk
from tests.support.stores import ACCEPTED, asked, begun, end, ports, said, wal

PAGE = walfile.FRAME_HEADER + 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(storeupkeep, "IDLE", 0.05)
    store = Store(str(path), history=10)
    yield store
    store.close()
    assert not [each for each in threading.enumerate() if each.name == "store"]


def without_log(path: Path) -> list[int]:
    """Return what is in the database itself."""
    copy = Path(f"{path}.copy")
    shutil.copy(path, copy)
    return ports(copy)


def test_an_idle_store_has_all_in_the_database(path: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    for port in range(3):
        begun(store, port)
        eventually(lambda: without_log(path) == [*range(port + 1)])  # noqa: B023
    assert not caplog.records


def test_a_look_at_its_health_alone_sets_nothing_going(path: Path, store: Store) -> None:
    for _ in range(10):
        store.probe(thoroughly=True)
    assert not [each for each in threading.enumerate() if each.name == "store"]


def test_a_log_that_is_written_to_without_a_pause_stays_short(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storeupkeep, "MUCH", 20)
    monkeypatch.setattr(storeupkeep, "LONGEST", 100)
    header = wal(path).read_bytes()[: walfile.HEADER]

    def begins_anew() -> bool:
        begun(store, 1)
        return wal(path).read_bytes()[: walfile.HEADER] != header

    for _ in range(5):
        header = wal(path).read_bytes()[: walfile.HEADER]
        while not begins_anew():
            assert wal(path).stat().st_size < 2000 * PAGE


def log_header(path: Path) -> bytes:
    return wal(path).read_bytes()[: walfile.HEADER]


def test_no_write_begins_the_log_anew_which_would_wait_for_the_disk(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are made all the while, and would let the next write do so as soon as one has caught up."""
    monkeypatch.setattr(storeupkeep, "MUCH", 8)
    monkeypatch.setattr(storeupkeep, "IDLE", 60)
    for port in range(4):
        begun(store, port)
    header = log_header(path)
    for port in range(4, 60):
        begun(store, port)
        if port % 8 == 0:
            eventually(lambda: without_log(path))
            eventually(lambda: store._open.upkeep._written < storeupkeep.MUCH)
        assert log_header(path) == header


@pytest.fixture
def may(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Whether the thread may begin a turn."""
    turn, may = store._open.upkeep._turn, threading.Event()

    def wait() -> None:
        assert may.wait(60)
        turn()

    monkeypatch.setattr(store._open.upkeep, "_turn", wait)
    yield may
    may.set()


def test_when_nothing_is_written_the_thread_begins_the_log_anew(path: Path, store: Store, may: threading.Event) -> None:
    header = log_header(path)
    for port in range(1, 4):
        may.clear()
        begun(store, port)
        assert log_header(path) == header, "the write did so"
        may.set()
        header = eventually(lambda: log_header(path) != header and log_header(path))  # noqa: B023
        eventually(lambda: not store._open.upkeep._woken)


def test_nobody_waits_for_a_checkpoint_that_waits_for_the_disk(path: Path, store: Store, may: threading.Event) -> None:
    begun(store, 1)
    with store._open.upkeep._using:  # as by the thread, which holds nothing else then
        for port in range(2, 5):
            request = begun(store, port)
            assert store.record(request.id)["id"] == request.id
        store.sync()
        store.probe(thoroughly=True)
        assert len(store.rows(10)) == 4


def test_what_history_has_no_room_for_is_forgotten_with_its_commands(path: Path, store: Store) -> None:
    owed = begun(store, 1)
    command = Command(Action.ON, "", ACCEPTED, ("n1",), key="c")
    requests = [asked("on", Outlet("a", str(port)), key=f"k{port}") for port in range(250)]
    store.add_all(requests, command)
    for request in requests[1:]:
        store.note(end(request))
    store.flush()
    eventually(lambda: len(store.rows(1000)) == 13)  # the newest, ten more, and two that go on
    assert store.find_key("k1") is None and store.find_key("c") == ("command", command.id)
    store.note(end(requests[0]))
    later = [end(asked("on")) for _ in range(20)]
    store.add_all(later, Command(Action.ON, "", ACCEPTED, ("n1",)))  # the newest command stays, as the newest request
    eventually(lambda: len(store.rows(1000)) == 12)
    assert store.find_key("c") is None and store.record(owed.id)["state"] == "accepted"
    with pytest.raises(NoSuchRequest):
        store.command(command.id)
    assert [row["id"] for row in store.rows(1)] == [later[-1].id]


def test_it_rests_while_others_write_unless_it_is_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes has all but a hundredth of a processor."""
    pauses: list[float] = []
    steps = iter([(0, 5), (1, 5), (1, 2 * storeupkeep.FAR_BEHIND), (1, 5), (0, 5), (0, 0)])  # pages of others, how far
    took = itertools.count(step=0.005)
    behind = 0

    class Closing(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal behind
            pauses.append(timeout or 0.0)
            pages, behind = next(steps)
            upkeep.wrote(pages, soon=False)
            return False

    upkeep = Upkeep("", threading.Lock(), lambda: None, lambda: behind)
    upkeep._closing = Closing()
    monkeypatch.setattr(storeupkeep.time, "thread_time", lambda: next(took))
    upkeep._forget_all()
    assert pauses[:2] == [storeupkeep.PAUSE] * 2 and pauses[3] == pauses[5] == storeupkeep.PAUSE
    assert [pauses[2], pauses[4]] == pytest.approx([0.005 / storeupkeep.SHARE] * 2)


def test_without_a_thread_it_is_asked_for_again(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for port in range(3):
            begun(store, port)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: no thread for checkpoints: can't start new thread"
    ]
    begun(store, 3)
    eventually(lambda: without_log(path) == [*range(4)])


def test_a_checkpoint_that_the_disk_does_not_take_is_told_once_and_done_later(
    path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum("cannot be taken over" in record.getMessage() for record in caplog.records)

    with full_disk():
        for _ in range(3):
            with store._lock:
                store._open.upkeep.wrote(1)
            eventually(lambda: told() == 1 and not store._open.upkeep._woken)
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    begun(store, 1)
    eventually(lambda: without_log(path) == [1])


def test_a_checkpoint_sees_first_that_the_files_are_there(
    path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    begun(store, 1)
    path.unlink()
    eventually(path.exists)
    eventually(lambda: "nothing is lost" in said(caplog))
    begun(store, 2)
    eventually(lambda: without_log(path) == [1, 2])
