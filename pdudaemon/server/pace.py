# SPDX-License-Identifier: MIT
"""`Pace`: how fast a thread of the pool makes a long answer while clients are served.

The interpreter runs one thread at a time. One that computes keeps the others waiting, for up to 5 ms whenever they have
given way, as the selector's thread does many times for each request. So a long answer is made in slices; while orders
come in, each slice is followed by a rest many times as long. Nobody else asking, it is made at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

LATELY = 0.05  # seconds after an order for which others are being served
SLICE = 20  # records
REST = 40  # times as long as the slice took
LONGEST = 0.02  # seconds of a rest


class Pace:
    """``served`` is when the selector's thread handed over orders last, in monotonic seconds."""

    def __init__(self) -> None:
        self.served = float("-inf")
        self._never = threading.Event()

    def sliced(self, items: Iterable[T]) -> Iterator[T]:
        """Yield what an answer is made of, slowly while others are served. Called by a thread of the pool."""
        begun = time.thread_time()
        for number, item in enumerate(items, 1):
            yield item
            if number % SLICE == 0:
                if time.monotonic() - self.served < LATELY:
                    self._never.wait(min((time.thread_time() - begun) * REST, LONGEST))
                begun = time.thread_time()
