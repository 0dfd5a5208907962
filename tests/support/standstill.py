# SPDX-License-Identifier: MIT
"""Processes of a run stand still for moments, as on a machine that is busy: ``pytest --workers 2 --standstill 1.4``.

A test that counts on time fails then, now and then: one that wants to find something under way which has ended by
itself, one that gives little time to what is to succeed, one that looks before another thread has come so far. Each
failure is looked into, for it may be the daemon that takes what is late for something else. What is stopped are
workers, and daemons, devices and clients that tests start; an interactive shell takes a stopped child for one that was
suspended, which is no fault of its test.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

OFTEN = 1.5  # times a second, about
LEAST = 0.1  # seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "have processes of the run stand still at random, for that many seconds at most"
    parser.getgroup("standstill").addoption("--standstill", type=float, default=0.0, metavar="SECONDS", help=told)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin, in a process of its own, which ends with the run."""
    most = session.config.getoption("standstill")
    if not most:
        return
    run, pid = os.getpid(), os.fork()
    if not pid:
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with contextlib.suppress(KeyboardInterrupt):
                _stop_some(run, most)
        finally:
            os._exit(0)

    def end() -> None:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)

    session.config.add_cleanup(end)


def descendants(pid: int) -> list[int]:
    """Return the processes that come from one."""
    found = []
    with contextlib.suppress(OSError):  # it has ended
        for each in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, each.read_text().split()):
                found += [child, *descendants(child)]
    return found


def _stop_some(run: int, most: float) -> None:
    while os.getppid() == run:
        time.sleep(random.expovariate(OFTEN))
        others = [each for each in descendants(run) if each != os.getpid()]
        some = random.sample(others, min(len(others), random.choice((1, 1, 2, 3))))
        try:
            _send(some, signal.SIGSTOP)
            time.sleep(random.uniform(min(LEAST, most), most))
        finally:
            _send(some, signal.SIGCONT)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)
