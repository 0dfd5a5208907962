# SPDX-License-Identifier: MIT
"""The machine under the figures: what it is, and what it is busy with."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path


def described() -> str:
    """Return what does not change: processors, memory, kernel, interpreter."""
    model = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition(":")[2].partition("\n")[0].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model or platform.machine()}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    )


def state(folder: Path) -> str:
    """Return what does change: disk, load, how much of the processors others take, and how fast one is just now."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    before = _ticks()
    time.sleep(0.3)
    busy, stolen, every = (now - then for now, then in zip(_ticks(), before, strict=True))
    return (
        f"load {load}; others take {busy / every:.0%} of all cores, the host {stolen / every:.0%}; "
        f"fsync p50 {_median(_fsync(folder), 51):.2f} ms; a loop of 100,000 turns {_median(_loop, 9):.1f} ms"
    )


def _ticks() -> tuple[int, int, int]:
    """Return the time so far that processors were busy, were taken away by the host, and in all."""
    fields = [int(each) for each in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4] - fields[7], fields[7], sum(fields)


def _fsync(folder: Path) -> Callable[[], None]:
    def write() -> None:
        with (folder / "fsync").open("ab", buffering=0) as file:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())

    return write


def _loop() -> None:
    for _ in range(100_000):
        pass


def _median(act: Callable[[], None], times: int) -> float:
    """Return how long an act takes, in milliseconds."""
    took = []
    for _ in range(times):
        begin = time.monotonic()
        act()
        took.append(time.monotonic() - begin)
    return statistics.median(took) * 1000
