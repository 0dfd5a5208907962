# SPDX-License-Identifier: MIT
"""`Device`: whose it is, for how long, and who gets it next."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdudaemon.engine import device
from pdudaemon.engine.device import Device
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import TransientError
from pdudaemon.power import Action
from tests.support.locks import free
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, submitted

NEVER = threading.Event()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The lock file of a device."""
    return tmp_path / "device.lock"


def use(one: Device, keep: bool = True) -> int | None:
    """Act once; return the descriptor."""
    with one.lock:
        descriptor = one.take(30, NEVER)
        one.release(keep)
    return descriptor


def test_kept_after_an_action_and_given_back_when_nothing_follows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "KEPT", 3600.0)
    one = Device(path)
    first = use(one)
    assert one.kept and not free(path)
    assert not one.let_go() and not free(path)  # that was too soon
    assert use(one) == first and not free(path)
    monkeypatch.setattr(device, "KEPT", 0.0)
    assert one.let_go() and free(path)
    assert use(one) == first and not free(path)
    one.close()
    assert free(path)


def test_a_failed_action_gives_it_back_at_once(path: Path) -> None:
    one = Device(path)
    use(one, keep=False)
    assert not one.kept and free(path)


def test_whoever_acts_is_not_deprived_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "KEPT", 0.0)
    one = Device(path)
    use(one)
    with one.lock:
        one.take(30, NEVER)
        assert not one.let_go()
        one.close()
        one.forget()
        assert not free(path)
        one.release(keep=True)
    assert not path.exists()  # forgotten meanwhile


def test_a_file_that_is_taken_away_is_made_anew(path: Path) -> None:
    one = Device(path)
    use(one)
    path.unlink()
    use(one)
    assert path.exists() and not free(path)
    one.close()


def test_a_file_that_somebody_else_has_closed_is_opened_anew(path: Path) -> None:
    """As a driver's library does that closes a descriptor twice: it costs at most an action, and never the worker."""
    for kept in (True, False):
        one = Device(path)
        descriptor = use(one)
        assert descriptor is not None
        os.close(descriptor)
        if kept:
            assert one.let_go(at_once=True)
        else:
            with one.lock:
                one.take(30, NEVER)
                one.release(keep=False)
        assert use(one) is not None and not free(path)
        one.close()
        assert free(path)
        descriptor = use(one)
        assert descriptor is not None
        os.close(descriptor)
        one.forget()


def test_what_another_process_has_is_waited_for_until_the_deadline_or_the_end(path: Path) -> None:
    other = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(other, fcntl.LOCK_EX)
    one = Device(path)
    stopping = threading.Event()
    stopping.set()
    for seconds, event, why in ((0.2, NEVER, "busy: "), (60, stopping, "busy: stopping")):
        with one.lock:
            with pytest.raises(TransientError, match=why):
                one.take(seconds, event)
            one.release(keep=False)
    os.close(other)
    assert use(one) is not None
    one.close()


def test_whether_it_has_to_be_waited_for(path: Path) -> None:
    one = Device(path)
    other = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(other, fcntl.LOCK_EX)
    with one.lock:
        assert not one.is_free()
        with pytest.raises(TransientError, match="busy: "):
            one.take(0.1, NEVER)
        one.release(keep=False)
    os.close(other)
    with one.lock:
        assert one.is_free() and not free(path)
        one.forget()  # which waits until what acts has ended
        assert path.exists() and one.take(30, NEVER) is not None
        one.release(keep=True)
    assert not path.exists()
    one.remember()
    use(one)
    with one.lock:
        assert one.is_free() and one.take(30, NEVER) is not None
        one.release(keep=False)
    one.close()
    path.unlink()
    path.mkdir()
    with one.lock:
        assert not one.is_free()
        one.release(keep=False)
    assert Device(None).is_free()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[Dispatcher, Rack, Path]]:
    """A dispatcher whose two PDUs are one device, with a folder for the lock files."""
    rack = Rack(tmp_path, {"left": {"lock": "both"}, "right": {"lock": "both"}})
    locks = tmp_path / "locks"
    locks.mkdir()
    dispatcher = Dispatcher(rack.config(), Store(MEMORY), locks)
    dispatcher.start()
    yield dispatcher, rack, locks
    dispatcher.close(1)
    rack.stop()


def test_the_workers_of_a_shared_device_keep_it_and_give_it_back(lab: tuple[Dispatcher, Rack, Path]) -> None:
    dispatcher, rack, locks = lab
    for name in ("left", "right", "left"):
        assert awaited(dispatcher, submitted(dispatcher, Action.ON, rack.target(name)), 30)
    (lock,) = locks.iterdir()
    eventually(lambda: free(lock))
    assert awaited(dispatcher, submitted(dispatcher, Action.OFF, rack.target("right")), 30)
    eventually(lambda: free(lock))
    assert rack.seen == {"left": "oo", "right": "of"}


def test_another_process_gets_the_device_though_we_have_kept_it(lab: tuple[Dispatcher, Rack, Path]) -> None:
    dispatcher, rack, locks = lab
    assert awaited(dispatcher, submitted(dispatcher, Action.ON, rack.target("left")), 30)
    (lock,) = locks.iterdir()
    context = multiprocessing.get_context("spawn")
    done = context.Event()
    process = context.Process(target=act, args=(lock, done), daemon=True)
    process.start()
    assert done.wait(60)
    process.join(60)
    assert process.exitcode == 0
    assert awaited(dispatcher, submitted(dispatcher, Action.OFF, rack.target("left")), 30)


def act(lock: Path, done: threading.Event) -> None:
    """Use the device, as another process."""
    one = Device(lock)
    use(one, keep=False)
    one.close()
    done.set()
