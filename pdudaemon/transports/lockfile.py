# SPDX-License-Identifier: MIT
"""The file that is locked while a device is acted on, and says who has it locked.

The lock (`flock`) belongs to whoever has the file open: the process that took it, and the command that it started,
which inherits the descriptor. So a command that outlives a killed daemon keeps the device locked, and the next one has
to know whether it may end that command. The record says: the process that took the lock, when that was started and in
which boot, and the process group of the command with the time of its start. A number alone may be another's by now.
A daemon that is killed just after it has started a command has not written the last of that: then the kernel is asked
who has the lock that the dead one took.

The record has one length and is written over the last, which needs no room on the disk, so that a full one is no reason
not to act. Whoever has got the lock looks whether the file is still the one of its name (`is_current`): it is taken
away with its PDU.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pdudaemon import sharedfiles

_LENGTH = 128
_WORD = "pdudaemon"
_UNKNOWN = "-"
_DEAD = (b"Z", b"X", b"x")
_HIGHEST = 2**31 - 1
_LOCKED = re.compile(r"^lock:\s+\d+: FLOCK\s+\w+\s+WRITE (\d+) ", re.MULTILINE)  # in /proc/PID/fdinfo


class Process(NamedTuple):
    """A process as /proc tells of it; ``started`` in clock ticks since the boot."""

    dead: bool
    group: int
    started: int


class Record(NamedTuple):
    """Who has the lock: a process, and the group of the command that it runs (0: none). Starts are 0 if unknown."""

    pid: int
    started: int
    boot: str
    group: int
    group_started: int

    def __str__(self) -> str:
        return f"{_WORD} (pid {self.pid})"

    @property
    def gone(self) -> bool:
        """Whether the process that took the lock is no more; one that cannot be seen is not said to be."""
        if self._of_another_boot:
            return True
        found = process(self.pid)
        if found is None:
            return not _is_hidden(self.pid)
        return found.dead or self.started not in (0, found.started)

    def group_lives(self, descriptor: int) -> bool:
        """Whether the group of that number is the one that was started, and one of it has the file open.

        Who may write the record may write anything there: root must not end what he is told to.
        """
        leader = process(self.group)
        if self._of_another_boot or (leader is not None and self.group_started not in (0, leader.started)):
            return False
        return any(_has_open(pid, descriptor) for pid in _members(self.group))

    @property
    def _of_another_boot(self) -> bool:
        return self.boot != boot() and _UNKNOWN not in (self.boot, boot())


def opened(path: Path) -> int:
    """Open the file, made if there is none, and its folder as well; return its descriptor. Raises: OSError."""
    with sharedfiles.place(path, follow=False, make=True) as (folder, name):
        return sharedfiles.opened_in(folder, name, os.O_RDWR | os.O_CREAT, ours=True)


def sign(descriptor: int, group: int = 0) -> None:
    """Write that this process has the lock, and which process group it has started. Raises: OSError."""
    text = f"{_owner(os.getpid())} {group} {_started(group) if group else 0}"
    os.pwrite(descriptor, f"{text:{_LENGTH - 1}}\n".encode(), 0)


def signed(descriptor: int) -> Record | None:
    """Return what the record says; None if there is none that can be read."""
    try:
        word, pid, started, of_boot, group, group_started = os.pread(descriptor, _LENGTH, 0).decode("ascii").split()
        record = Record(int(pid), int(started), of_boot, int(group), int(group_started))
    except (OSError, ValueError):
        return None
    return record if word == _WORD and 1 < record.pid <= _HIGHEST and 0 <= record.group <= _HIGHEST else None


def is_free(descriptor: int) -> bool:
    """Lock the file, if nobody else has it locked; return whether it is ours."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_current(descriptor: int, path: Path) -> bool:
    """Whether the file has this name: it may have been taken away since it was opened. Raises: OSError."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False


def remove(path: Path) -> None:
    """Take the file away, unless it is locked. Never waits. Raises: OSError."""
    with sharedfiles.place(path, follow=False) as (folder, name):
        descriptor = sharedfiles.opened_in(folder, name, os.O_RDWR, ours=True)
        try:
            if is_free(descriptor) and is_current(descriptor, path):
                os.unlink(name, dir_fd=folder)
        finally:
            os.close(descriptor)


def end_orphan(descriptor: int) -> bool:
    """End the command that has the lock, if the process that started it is gone; return whether that was so.

    For the next daemon, at the end of the time that a command of the last one could have had.
    """
    record = signed(descriptor)
    if record is None or not record.gone:
        return False
    if record.group_lives(descriptor):
        return _killed(os.killpg, record.group)
    if record.boot != boot() and process(record.pid) is not None:  # another one, who has this number in this boot
        return False
    ended = False
    for pid in _heirs(descriptor, record.pid):
        leads = (found := process(pid)) is not None and found.group == pid != os.getpgrp()
        ended = _killed(os.killpg if leads else os.kill, pid) or ended
    return ended


def _killed(kill: Callable[[int, int], None], number: int) -> bool:
    try:
        kill(number, signal.SIGKILL)
    except OSError:  # it has ended just now, or is not ours to end
        return False
    return True


def process(pid: int) -> Process | None:
    """Return what is known of a process; None: there is none, or not for our eyes."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return Process(status[0] in _DEAD, int(status[2]), int(status[19]))
    except (OSError, IndexError, ValueError):
        return None


@cache
def boot() -> str:
    """Return the id of this boot; ``-`` where a hardened unit hides it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() or _UNKNOWN
    except OSError:
        return _UNKNOWN


@cache
def _owner(pid: int) -> str:
    return f"{_WORD} {pid} {_started(pid)} {boot()}"


def _started(pid: int) -> int:
    found = process(pid)
    return 0 if found is None else found.started


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, though /proc does not show it: another user's, for a hardened unit."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _members(group: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        found = process(int(name)) if name.isdecimal() else None
        if found is not None and found.group == group and not found.dead:
            yield int(name)


def _has_open(pid: int, descriptor: int) -> bool:
    return any(_open_on(pid, descriptor))


def _open_on(pid: int, descriptor: int) -> Iterator[str]:
    """Yield the descriptors of a process on the file, as far as they are for our eyes."""
    ours = os.fstat(descriptor)
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.path.samestat(ours, os.stat(f"/proc/{pid}/fd/{name}")):
                    yield name


def _heirs(descriptor: int, taker: int) -> Iterator[int]:
    """Yield the processes that have the lock which a process took that is no more, as the kernel tells."""
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) in (taker, os.getpid()):
            continue
        for number in _open_on(int(name), descriptor):
            with suppress(OSError):
                taken_by = _LOCKED.search(Path(f"/proc/{name}/fdinfo/{number}").read_text())
                if taken_by is not None and int(taken_by[1]) == taker:
                    yield int(name)
                    break
