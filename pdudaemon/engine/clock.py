# SPDX-License-Identifier: MIT
"""`Clock`: what time it is, by a clock that can be set and by one that cannot.

Wall time is for people and for what outlives the machine's start. How long something has taken is told by `uptime`,
which counts on while the machine sleeps and cannot be set; but it means something within one start of the machine only,
which `boot` names.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The machine's clocks: `wall` returns the seconds since the epoch, as far as the machine knows; `uptime` those
    since the machine was started, those that it slept included.
    """

    wall = staticmethod(time.time)
    uptime = staticmethod(functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME))

    def __init__(self) -> None:
        try:
            self.boot = _BOOT_ID.read_text().strip()
        except OSError:  # then no two starts are known to be the same one
            self.boot = ""
