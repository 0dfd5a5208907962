# SPDX-License-Identifier: MIT
"""The lock that says which daemon replays a store.

It is one of an open file description (``F_OFD_SETLK``), on the first byte of the file. SQLite has its POSIX locks far
behind that byte. `flock` would do on a disk of this machine, but over NFS it is a lock on the whole file, and so keeps
out SQLite itself: flock(2), fcntl_locking(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_TAKEN = (errno.EAGAIN, errno.EACCES)
_FLOCK = struct.Struct("hhqqi")  # kind, whence, start, length, pid
_SQLITE = (0x40000002, 510)  # "shared" bytes: https://www.sqlite.org/src/file/src/os.h


def _record(kind: int, start: int = 0, length: int = 1) -> bytes:
    """Return a struct flock, and nobody's pid."""
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)


def taken(descriptor: int, shared: bool = False) -> bool:
    """Take the lock, also if it is had already; return False if another has it.

    ``shared``: keep others from it without having it, for which the file may be open for reading alone.

    It is let go when the last descriptor of this opening is closed. Over NFS it may be lost before that, to whoever
    asks when our machine was not heard of for a while. Raises: OSError, if the file system has no locks.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _record(fcntl.F_RDLCK if shared else fcntl.F_WRLCK))
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def user(descriptor: int) -> int | None:
    """Return the process that uses the database of this file, which SQLite tells by locks that no child inherits.

    0: one that is not for our eyes, or of another machine; None: no other process does. Raises: OSError.
    """
    found = fcntl.fcntl(descriptor, fcntl.F_GETLK, _record(fcntl.F_WRLCK, *_SQLITE))
    kind, _, _, _, pid = _FLOCK.unpack(found)
    return None if kind == fcntl.F_UNLCK else max(0, pid)
