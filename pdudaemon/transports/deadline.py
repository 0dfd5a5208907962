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
SILENCE = 2.0  # seconds for which a device may say nothing before who gives way leaves it


class Deadline:
    """A point in time ``seconds`` from now, on the monotonic clock.

    ``stopping`` ends all pauses when it is set: by whoever stops the worker, when an action has had time enough to end
    by itself. ``gives_way``: it ends as well what waits for a device that has been silent for a while, since somebody
    else wants the device; one that answers is let finish.
    """

    def __init__(self, seconds: float, stopping: threading.Event | None = None, *, gives_way: bool = False) -> None:
        self.seconds = seconds
        self.when = time.monotonic() + seconds
        self.gives_way = gives_way
        self._stopping = stopping or _NEVER

    def within(self, seconds: float) -> Deadline:
        """Return a deadline so many seconds from now, or this one if that is sooner."""
        if time.monotonic() + seconds >= self.when:
            return self
        return Deadline(seconds, self._stopping, gives_way=self.gives_way)

    def remaining(self) -> float:
        """Return the seconds left, more than 0.

        Raises: DeviceTimeout when there are none.
        """
        left = self.when - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def spell(self) -> float:
        """Return for how long to wait for a device at a time; then ask whether it `goes_on`. Raises: DeviceTimeout."""
        return min(self.remaining(), SILENCE) if self.gives_way else self.remaining()

    def goes_on(self) -> bool:
        """Whether to wait for another `spell`, after one of silence."""
        return self.gives_way and not self._stopping.is_set() and time.monotonic() < self.when

    def pause(self, seconds: float) -> None:
        """Wait so many seconds, or until the deadline if that is sooner.

        Raises: DeviceTimeout when it has passed already, TransientError when the daemon stops.
        """
        self._stopping.wait(min(seconds, self.remaining()))
        if (error := self.cut_short()) is not None:
            raise error

    def cut_short(self) -> TransientError | None:
        """Return the error to raise where a pause must end now, None if it may go on."""
        return TransientError("interrupted, since the daemon stops") if self._stopping.is_set() else None

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
