# SPDX-License-Identifier: MIT
"""One absolute deadline for all of an action, so that a device which answers a byte a minute does not hold us."""

from __future__ import annotations

import time

from pdudaemon.errors import DeviceTimeout


class Deadline:
    """A point in time ``seconds`` from now, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.when = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, more than 0.

        Raises: DeviceTimeout when there are none.
        """
        left = self.when - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> DeviceTimeout:
        """Return the error to raise when the deadline passed while waiting."""
        return DeviceTimeout(f"no answer within {self.seconds:g} s")
