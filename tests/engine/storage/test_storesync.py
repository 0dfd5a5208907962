# SPDX-License-Identifier: MIT
"""One fdatasync for all who wait: each one's began after he had asked, and its error reaches them all."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from pdudaemon.engine.storage.storesync import DiskSync
from tests.support.process import eventually

MANY = 50


class Disk:
    """An fdatasync that ends when it is let. ``begun`` counts them."""

    def __init__(self) -> None:
        self.begun = 0
        self.let = threading.Semaphore(0)
        self.error: OSError | None = None

    def fdatasync(self, _: int) -> None:
        self.begun += 1
        assert self.let.acquire(timeout=60)
        if self.error is not None:
            raise self.error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "fdatasync", disk.fdatasync)
    return disk


class Asking(threading.Thread):
    """One who waits for the disk."""

    def __init__(self, sync: DiskSync) -> None:
        super().__init__(daemon=True)
        self.sync = sync
        self.error: OSError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.sync.wait(0)
        except OSError as error:
            self.error = error


def waiting(sync: DiskSync) -> int:
    return len(sync._changed._waiters)  # type: ignore[attr-defined]


def second_round(disk: Disk) -> tuple[DiskSync, Asking, list[Asking]]:
    """Let many come while one fdatasync runs, and that end; return when the one for the many has begun."""
    sync = DiskSync()
    first = Asking(sync)
    eventually(lambda: disk.begun == 1)
    others = [Asking(sync) for _ in range(MANY)]
    eventually(lambda: waiting(sync) == MANY)
    disk.let.release()
    first.join(60)
    eventually(lambda: disk.begun == 2)
    return sync, first, others


def test_those_who_come_meanwhile_share_the_next(disk: Disk) -> None:
    sync, _, others = second_round(disk)
    assert all(each.is_alive() for each in others)  # the one that ended had begun before they came
    last = Asking(sync)
    eventually(lambda: waiting(sync) == MANY)  # but for the one who sees to it
    disk.let.release()
    for each in others:
        each.join(60)
    eventually(lambda: disk.begun == 3)
    assert last.is_alive()
    disk.let.release()
    last.join(60)
    assert not last.is_alive() and disk.begun == 3


def test_an_error_is_told_to_all_of_its_round_and_from_then_on(disk: Disk) -> None:
    """Until the file is another one: what the next fdatasync says is not true of what the last one was for."""
    sync, first, others = second_round(disk)
    disk.error = OSError(errno.EIO, "Input/output error")
    disk.let.release()
    for each in others:
        each.join(60)
    assert first.error is None and all(each.error is disk.error for each in others)
    disk.error = None
    disk.let.release()
    again = Asking(sync)
    again.join(60)
    assert again.error is not None and sync.failed and disk.begun == 3
    sync.begin_anew()
    disk.let.release()
    anew = Asking(sync)
    anew.join(60)
    assert anew.error is None and disk.begun == 4


def file_that_is_closed(folder: Path) -> int:
    with (folder / "closed").open("wb") as file:
        return file.fileno()


def test_what_it_says_is_on_the_disk(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        DiskSync().wait(file.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        DiskSync().wait(file_that_is_closed(tmp_path))
