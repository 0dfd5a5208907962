# SPDX-License-Identifier: MIT
"""Whether a daemon stays as it is: its memory, threads and descriptors, within bounds that are said here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.process import Daemon

MEMORY = 24.0  # MiB by which it may grow: history, logs and tables that are bounded fill up
THREADS = 12  # of a pool, and workers that have just had something to do
DESCRIPTORS = 16


class Size(NamedTuple):
    """Of a process: MiB in memory, threads, descriptors."""

    memory: float
    threads: int
    descriptors: int

    def __str__(self) -> str:
        return f"{self.memory:.1f} MiB, {self.threads} threads, {self.descriptors} descriptors"


def size(daemon: Daemon) -> Size:
    """Return how large a daemon is now."""
    assert daemon.process is not None
    place = Path(f"/proc/{daemon.process.pid}")
    fields = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    memory = int(fields["RssAnon"].split()[0]) / 1024
    return Size(memory, int(fields["Threads"]), len(os.listdir(place / "fd")))


def grown(before: Size, now: Size, clients: int = 0) -> str:
    """Return what is beyond its bound, empty if nothing is; each of some clients may have a connection by now."""
    for word, bound in (("memory", MEMORY), ("threads", THREADS), ("descriptors", DESCRIPTORS + clients)):
        if getattr(now, word) > getattr(before, word) + bound:
            return f"{word} grew by more than {bound}: {before}; now {now}"
    return ""


@contextmanager
def steady(daemon: Daemon, seconds: float = 60.0) -> Iterator[None]:
    """Check that it is no larger at the end than at the begin; what is under way may take some seconds to go."""
    before = size(daemon)
    yield
    until = time.monotonic() + seconds
    while told := grown(before, size(daemon)):
        assert time.monotonic() < until, told
        time.sleep(0.5)
