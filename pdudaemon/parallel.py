# SPDX-License-Identifier: MIT
"""Does the same for many things at a time, in bounded time: for what the command line asks of devices by itself.

Threads of our own rather than a pool's, since those are waited for at the exit: whoever presses Ctrl-C, or has a driver
that does not come back, wants to be rid of them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(
    function: Callable[[T], R], items: Sequence[T], at_a_time: int, seconds: float
) -> Iterator[tuple[T, R | None]]:
    """Yield each item with what the function returned for it, in order; None if it did not within ``seconds`` of all.

    The function must not raise.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended = [threading.Event() for _ in items]
    results: list[R | None] = [None] * len(items)

    def work() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            results[number] = function(items[number])
            ended[number].set()

    for number in range(len(items)):
        waiting.put(number)
    for _ in range(min(at_a_time, len(items))):
        threading.Thread(target=work, daemon=True).start()
    until = time.monotonic() + seconds
    for item, end, number in zip(items, ended, range(len(items)), strict=True):
        end.wait(max(0.0, until - time.monotonic()))
        yield item, results[number]
