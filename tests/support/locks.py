# SPDX-License-Identifier: MIT
"""Having a device to oneself, as a worker has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pdudaemon.engine.device import Device

NEVER = threading.Event()


@contextmanager
def holding(device: Device, seconds: float) -> Iterator[int | None]:
    """Hold the lock on the file of a device, and give it back at once; yield the descriptor."""
    try:
        yield device.take(seconds, NEVER)
    finally:
        device.release(keep=False)
