# SPDX-License-Identifier: MIT
"""The main thread takes signals one by one: a stop before reloads, and of these one for all."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pdudaemon.signals import SignalPipe


@pytest.fixture
def signals() -> Iterator[SignalPipe]:
    numbers = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    yield SignalPipe(*numbers)
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_reloads_come_last_and_once(signals: SignalPipe) -> None:
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    assert signals.pressing
    assert [signals.get() for _ in range(3)] == [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]
    assert not signals.pressing and signals.within(0) is None


def test_a_thread_wakes_who_waits(signals: SignalPipe) -> None:
    thread = threading.Timer(0.05, signals.put, [99])
    thread.start()
    assert signals.get() == 99
    thread.join()


def test_a_full_pipe_loses_no_signal(signals: SignalPipe) -> None:
    for _ in range(70_000):
        signals.put(99)
    assert sum(signals.get() for _ in range(70_000)) == 99 * 70_000 and signals.within(0) is None
