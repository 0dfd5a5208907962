# SPDX-License-Identifier: MIT
"""What systemd is told of a service of ``Type=notify``, as sd_notify(3) describes it, and its watchdog.

Without ``$NOTIFY_SOCKET`` nobody is told anything.
"""

from __future__ import annotations

import logging
import os
import socket
import time

from pdudaemon.environment import own

log = logging.getLogger("pdud.notify")

LONGEST_STATUS = 1000
LONGEST_BEAT = 10.0  # seconds; also without a service manager: the store may be taken away from us


class Notifier:
    """Tells the service manager. Used by the main thread."""

    def __init__(self) -> None:
        path = own("NOTIFY_SOCKET")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        watched = own("WATCHDOG_PID") in ("", str(os.getpid()))
        microseconds = own("WATCHDOG_USEC")
        self._watchdog = int(microseconds) / 1e6 if watched and microseconds.isdecimal() else 0.0
        self._told = time.monotonic()

    @property
    def beat(self) -> float:
        """In how many seconds it is to be seen again whether all is well, and told: within half the watchdog's time.

        A reload in between puts nothing off: whoever reloads often must not starve the watchdog.
        """
        interval = min(self._watchdog / 2, LONGEST_BEAT) if self._watchdog else LONGEST_BEAT
        return max(0.0, self._told + interval - time.monotonic())

    def ready(self, status: str) -> None:
        """The start, or a reload, is done."""
        self._tell("READY=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """All is well: feed the watchdog."""
        self._told = time.monotonic()
        self._tell("WATCHDOG=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reading the configuration")

    def stopping(self) -> None:
        """The end begins."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def status(self, status: str) -> None:
        """Say how things are."""
        self._told = time.monotonic()
        self._tell(f"STATUS={status}")

    @property
    def present(self) -> bool:
        """Whether there is a service manager that listens."""
        return bool(self._address)

    def keep(self, name: str, descriptor: int) -> None:
        """Have the manager keep a descriptor, which it hands over to the next start: see `FileDescriptorStoreMax=`."""
        self._tell("FDSTORE=1", f"FDNAME={name}", descriptors=(descriptor,))

    def drop(self, name: str) -> None:
        """Have it close what it keeps by that name."""
        self._tell("FDSTOREREMOVE=1", f"FDNAME={name}")

    def _tell(self, *lines: str, descriptors: tuple[int, ...] = ()) -> None:
        if not self._address:
            return
        text = "\n".join(" ".join(line.split())[:LONGEST_STATUS] for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.connect(self._address)
                socket.send_fds(manager, [text.encode(errors="replace")], descriptors)
        except OSError as error:
            log.warning("the service manager cannot be told: %s", error.strerror)
