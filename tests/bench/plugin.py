# SPDX-License-Identifier: MIT
"""Drivers for devices that exist only here, by the contract that all daemons share: installed as a plugin, not imported."""

from __future__ import annotations

import fcntl
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdudaemon.drivers.driver import PDUDriver


class Device(PDUDriver):
    """What all have in common. ``file`` is a setting of those that need one."""

    name = ""

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.file = Path(settings.get("file", ""))
        self.fails = bool(settings.get("fails"))

    @classmethod
    def accepts(cls, drivername: str) -> bool:
        return drivername == cls.name


class Instant(Device):
    """Takes no time."""

    name = "instant"

    def port_interaction(self, command: str, port_number: Any) -> None:
        pass


class Stamp(Device):
    """Writes into a FIFO when it was called, on the monotonic clock that all processes share."""

    name = "stamp"

    def port_interaction(self, command: str, port_number: Any) -> None:
        now = time.monotonic()
        with self.file.open("w") as fifo:
            fifo.write(f"{now}\n")


class Meter(Device):
    """Writes into a file what its process has used so far: CPU seconds and voluntary context switches of all threads,
    those that have ended as well.
    """

    name = "meter"

    def port_interaction(self, command: str, port_number: Any) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.file.write_text(f"{used.ru_utime + used.ru_stime} {used.ru_nvcsw}")


class Gate(Device):
    """Acts once nobody holds its file locked any more; one that ``fails`` does not even then."""

    name = "gate"

    def port_interaction(self, command: str, port_number: Any) -> None:
        with self.file.open() as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
        if self.fails:
            raise RuntimeError("the gate is rusty")
