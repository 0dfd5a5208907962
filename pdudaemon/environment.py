# SPDX-License-Identifier: MIT
"""What the service manager puts into the environment for the daemon alone, and no program that it starts may have.

With these, a program could tell the manager that the daemon is well, or read every secret of it. Where the service's
folders are (``STATE_DIRECTORY`` and its like) is no secret, and of use to a script.
"""

from __future__ import annotations

import os

OWN = (
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "MAINPID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)

_kept: dict[str, str] = {}


def keep() -> None:
    """Take them out of the environment, so that a plugin's own children have none either. Before there are threads."""
    _kept.update((name, os.environ.pop(name)) for name in OWN if name in os.environ)


def own(name: str) -> str:
    """Return one of them, empty if it is not given."""
    return os.environ.get(name, _kept.get(name, ""))


def for_others() -> dict[str, str]:
    """Return the environment that a program gets."""
    return {name: text for name, text in os.environ.items() if name not in OWN}
