# SPDX-License-Identifier: MIT
"""Having a device to oneself, as a worker has, and whether somebody has."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdudaemon.engine.device import Device

NEVER = threading.Event()


@contextmanager
def holding(device: Device, seconds: float) -> Iterator[int | None]:
    """Hold the lock on the file of a device, and give it back at once; yield the descriptor."""
    try:
        yield device.take(seconds, NEVER)
    finally:
        device.release(keep=False)


def free(path: Path) -> bool:
    """Whether another process could have the file of a device now."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
