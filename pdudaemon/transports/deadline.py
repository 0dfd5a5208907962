# SPDX-License-Identifier: MIT
"""One absolute deadline for all of an action, so that a device which answers a byte a minute does not hold us.

It is also what an action pauses by: nobody sleeps, so that nothing of an action outlives the daemon's patience.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from pdudaemon.errors import DeviceTimeout, TransientError

_of_thread = threading.local()
_NEVER = threading.Event()  # is set by nobody
_OUTSIDE = 60.0  # seconds for what is done outside an action


class Deadline:
    """A point in time ``seconds`` from now, on the monotonic clock.

    ``stopping`` ends all pauses when it is set: by whoever stops the worker, when an action has had time enough to end
    by itself.
    """

    def __init__(self, seconds: float, stopping: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.when = time.monotonic() + seconds
        self._stopping = stopping or _NEVER

    def within(self, seconds: float) -> Deadline:
        """Return a deadline so many seconds from now, or this one if that is sooner."""
        return min(self, Deadline(seconds, self._stopping), key=lambda deadline: deadline.when)

    def remaining(self) -> float:
        """Return the seconds left, more than 0.

        Raises: DeviceTimeout when there are none.
        """
        left = self.when - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def pause(self, seconds: float) -> None:
        """Wait so many seconds, or until the deadline if that is sooner.

        Raises: DeviceTimeout when it has passed already, TransientError when the daemon stops.
        """
        if self._stopping.wait(min(seconds, self.remaining())):
            raise TransientError("interrupted, since the daemon stops")

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Do not count what is done within, which is ours to do and not the device's."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.when += time.monotonic() - begun

    def passed(self) -> DeviceTimeout:
        """Return the error to raise when the deadline passed while waiting."""
        return DeviceTimeout(f"no answer within {self.seconds:g} s")


def begin(deadline: Deadline) -> None:
    """Make a deadline that of the action which this thread begins."""
    _of_thread.deadline = deadline


def current() -> Deadline:
    """Return the deadline of this thread's action, for what old drivers call without handing it over."""
    found: Deadline | None = getattr(_of_thread, "deadline", None)
    return found or Deadline(_OUTSIDE)
