# SPDX-License-Identifier: MIT
"""The file of a device, step by step: when it is open, locked, looked at and gone, by a clock that the test sets."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import device
from pdudaemon.engine.device import KEPT, LOOK_EVERY, Device
from pdudaemon.errors import TransientError
from pdudaemon.transports import lockfile
from tests.support.locks import NEVER, free


class Clock:
    now = 500.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(device, "time", made)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.lock"


@pytest.fixture
def one(path: Path, clock: Clock) -> Iterator[Device]:
    made = Device(path)
    yield made
    made._in_use = False
    made.close()


def use(one: Device, keep: bool = True) -> int | None:
    with one.lock:
        line = one.take(30, NEVER)
        one.release(keep)
    return line


def opened(path: Path) -> int:
    """Return how often this process has a file open, whatever has become of its name."""
    found = 0
    for each in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{each}").removesuffix(" (deleted)") == str(path)
        except FileNotFoundError:
            continue
    return found


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Have somebody else hold the lock; yield the descriptor."""
    line = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(line, fcntl.LOCK_EX)
    try:
        yield line
    finally:
        os.close(line)


def test_one_that_was_never_used_is_nobodys(one: Device, path: Path) -> None:
    assert (one.request, one.stuck, one.survey, one.kept) == (0, "", None, False)
    assert one.due == one.looked_at == float("inf") and one.last_action == float("-inf")
    assert one.let_go() and not path.exists() and not one.lock.locked()
    one.close()
    one.forget()
    one.remember()
    use(one)
    assert path.exists(), "it is had again"


@pytest.mark.parametrize("keep", [True, False])
def test_it_is_kept_where_that_is_wanted(one: Device, path: Path, clock: Clock, keep: bool) -> None:
    with one.lock:
        line = one.take(30, NEVER)
        assert one.kept and not free(path) and line is not None and os.path.samestat(os.fstat(line), path.stat())
        clock.now += 5
        one.release(keep)
    assert one.kept is keep and free(path) is not keep and one.last_action == 505.0
    for _ in range(3):
        with one.lock:
            assert one.take(30, NEVER) == line, "it stays open"
            assert not free(path)
            one.release(keep)
    assert opened(path) == 1


@pytest.mark.parametrize(
    ("after", "at_once", "goes"), [(KEPT - 0.5, False, False), (KEPT, False, True), (0.0, True, True)]
)
def test_it_is_given_back_after_a_while(
    one: Device, path: Path, clock: Clock, after: float, at_once: bool, goes: bool
) -> None:
    use(one)
    clock.now += after
    assert one.let_go(at_once) is goes and free(path) is goes and one.kept is not goes and not one.lock.locked()


def test_it_is_not_given_back_by_itself_at_once(one: Device) -> None:
    use(one)
    assert one.let_go() is False


def test_who_has_it_is_not_deprived_of_it(one: Device, path: Path, clock: Clock) -> None:
    with one.lock:
        one.take(30, NEVER)
        clock.now += 60
        assert one.let_go(at_once=True) is False and not free(path)
        one.close()
        assert not free(path) and one.kept
        one.release(keep=True)
    one.close()
    assert free(path) and opened(path) == 0 and not one.kept
    one.close()


def test_what_is_kept_is_looked_at_now_and_then(one: Device, path: Path, clock: Clock) -> None:
    """And made anew once it has gone; the one before is closed."""
    line = use(one)
    path.unlink()
    clock.now += LOOK_EVERY + 0.5
    assert use(one) == line and path.exists(), "a file was made anew, in the place of the other"
    assert opened(path) == 1 and not free(path)
    clock.now += LOOK_EVERY - 0.125
    path.unlink()
    use(one)
    assert not path.exists(), "it has just been looked at"
    clock.now += LOOK_EVERY + 0.5
    use(one)
    assert path.exists() and not free(path) and opened(path) == 1


def test_what_was_kept_and_is_anothers_now_is_not_kept(one: Device, path: Path, clock: Clock) -> None:
    use(one)
    clock.now += 60
    path.unlink()
    with held(path), one.lock:
        with pytest.raises(TransientError, match=r"^busy: stopping$"):
            one.take(3600, Polls(lambda: True))
        assert not one.kept
        one.release(keep=True)
        assert not one.kept


def test_one_look_is_enough_for_a_while(one: Device, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    is_current = lockfile.is_current

    def noted(line: int, path: Path) -> bool:
        looks.append(clock.now)
        return is_current(line, path)

    monkeypatch.setattr(lockfile, "is_current", noted)
    use(one)
    assert looks == [500.0], "when it was locked"
    for after in (0.0, 0.0):
        clock.now += after
        use(one)
    first = len(looks)
    clock.now += LOOK_EVERY / 2
    use(one)
    assert len(looks) == first
    clock.now += LOOK_EVERY
    use(one)
    assert len(looks) == first + 1
    clock.now += LOOK_EVERY / 2
    use(one)
    assert len(looks) == first + 1


def test_a_file_that_cannot_be_looked_at_is_locked_anew(
    one: Device, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(one)
    clock.now += 60
    is_current, refused = lockfile.is_current, [OSError(errno.EIO, "Input/output error")]

    def look(line: int, path: Path) -> bool:
        if refused:
            raise refused.pop()
        return is_current(line, path)

    monkeypatch.setattr(lockfile, "is_current", look)
    use(one)
    assert not free(path) and opened(path) == 1


def test_one_that_somebody_else_has_closed_is_opened_anew(
    one: Device, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    line = use(one)
    assert line is not None
    os.close(line)
    assert one.let_go(at_once=True) and not one.kept
    assert caplog.messages == [f"{path}: Bad file descriptor"]
    use(one)
    assert not free(path) and opened(path) == 1


def test_it_is_free_if_nobody_has_it(one: Device, path: Path, clock: Clock) -> None:
    with one.lock:
        assert one.is_free() is True and one.kept and not free(path) and one._in_use
        assert lockfile.signed(one._descriptor) is not None  # type: ignore[arg-type]
        assert one.is_free() is True and opened(path) == 1
        one.take(30, NEVER)
        one.release(keep=True)
    with held(path.with_name("other")) as line:
        assert line is not None
    one.let_go(at_once=True)
    with held(path), one.lock:
        assert one.is_free() is False and not one.kept and one._in_use
        one.close()
        assert opened(path) == 2, "who is about to act has it"
    assert opened(path) == 1


def test_what_has_gone_is_not_free(one: Device, path: Path, clock: Clock) -> None:
    """It is made anew by who waits for it."""
    use(one, keep=False)
    path.unlink()
    with one.lock:
        assert one.is_free() is False and not one.kept
        one.take(30, NEVER)
        assert path.exists() and not free(path) and opened(path) == 1
        one.release(keep=False)


def test_what_cannot_be_opened_is_not_free_and_told(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "lock"
    one = Device(path)
    with one.lock:
        assert one.is_free() is False
        with pytest.raises(TransientError, match=rf"^the lock file {path} cannot be used: Not a directory$"):
            one.take(30, NEVER)
        one.release(keep=False)
    one.forget()


def test_a_look_that_was_taken_for_free_counts(one: Device, path: Path, clock: Clock) -> None:
    with one.lock:
        assert one.is_free()
        path.unlink()
        clock.now += LOOK_EVERY / 2
        one.take(30, NEVER)
        assert not path.exists(), "it has just been looked at"
        one.release(keep=True)


# What another process has.


class Polls(threading.Event):
    """An event that is never set; at each wait the next of the ``steps`` is done."""

    def __init__(self, *steps: Any) -> None:
        super().__init__()
        self.steps = [*steps]
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return bool(self.steps.pop(0)())


def test_it_is_polled_until_it_is_free(one: Device, path: Path, clock: Clock) -> None:
    with held(path) as line:
        polls = Polls(lambda: None, lambda: fcntl.flock(line, fcntl.LOCK_UN))
        with one.lock:
            one.take(3600, polls)
            assert not free(path) and one.kept
            one.release(keep=False)
    assert polls.waits == [0.05, 0.05]


def test_who_is_to_stop_does_not_wait_for_it(one: Device, path: Path, clock: Clock) -> None:
    with held(path), one.lock:
        with pytest.raises(TransientError, match=r"^busy: stopping$"):
            one.take(3600, Polls(lambda: True))
        assert not one.kept
        one.release(keep=True)


@pytest.mark.parametrize("who", ["nobody", "living", "gone"])
def test_who_has_it_is_told_when_the_time_is_over(
    one: Device, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, who: str
) -> None:
    class Holder:
        gone = who == "gone"

        def __str__(self) -> str:
            return "another daemon"

    monkeypatch.setattr(lockfile, "signed", lambda _: None if who == "nobody" else Holder())
    monkeypatch.setattr(lockfile, "end_orphan", lambda _: False)
    said = "held by another daemon" if who == "living" else f"another process holds {path}"
    with held(path), one.lock:
        with pytest.raises(TransientError, match=f"^busy: {said}$"):
            one.take(0.0, NEVER)
        one.release(keep=False)
    assert caplog.messages == [f"{path} is held by {'another daemon' if who == 'living' else 'another process'}"]
    assert caplog.records[0].levelname == "ERROR"


@pytest.mark.parametrize("dies", [True, False])
def test_a_command_of_an_earlier_run_is_killed_once_and_waited_for(
    one: Device, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dies: bool
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(device, "_DEATH", 0.0 if not dies else 60.0)

    def kill(line: int) -> bool:
        killed.append(line)
        return True

    monkeypatch.setattr(lockfile, "end_orphan", kill)
    monkeypatch.setattr(lockfile, "signed", lambda _: None)
    with held(path) as line, one.lock:
        polls = Polls(lambda: fcntl.flock(line, fcntl.LOCK_UN))
        if dies:
            assert one.take(0.0, polls) is not None and polls.waits == [0.05]
        else:
            with pytest.raises(TransientError, match=f"^busy: another process holds {path}$"):
                one.take(0.0, polls)
        one.release(keep=False)
    assert len(killed) == 1
    told = f"{path} is held by a command of an earlier run, killed now"
    assert caplog.messages == [told, *[f"{path} is held by another process"] * (not dies)]


def test_who_has_it_stands_in_it_if_there_is_room_for_that(
    one: Device, path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    signed: list[int] = []

    def sign(line: int) -> None:
        signed.append(line)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lockfile, "sign", sign)
    line = use(one, keep=False)
    assert signed == [line] and one._descriptor == line
    with one.lock:
        assert one.is_free() is False, "who cannot sign waits as who has to"
        assert one.take(30, NEVER) == line
        one.release(keep=False)


# Who has no PDU any more.


def test_one_that_is_forgotten_is_closed_and_taken_away(one: Device, path: Path, clock: Clock) -> None:
    use(one)
    one.forget()
    assert not path.exists() and opened(path) == 0 and not one.kept and one._descriptor is None
    one.forget()
    one.remember()
    use(one, keep=False)
    assert path.exists() and opened(path) == 1


def test_one_that_acts_is_forgotten_when_that_has_ended(one: Device, path: Path, clock: Clock) -> None:
    with one.lock:
        one.take(30, NEVER)
        one.forget()
        assert path.exists() and not free(path)
        one.release(keep=True)
    assert not path.exists() and opened(path) == 0 and not one.kept
    with one.lock:
        one.is_free()
        one.forget()
        assert path.exists()
        one.release(keep=False)
    assert not path.exists()


def test_without_a_file_there_is_nothing_to_take_away(clock: Clock) -> None:
    one = Device(None)
    with one.lock:
        assert one.is_free() is True and one.take(0.0, NEVER) is None and not one._in_use
        one.release(keep=True)
    assert not one.kept and one.let_go() is True and one.last_action == 500.0
    one.close()
    one.forget()
