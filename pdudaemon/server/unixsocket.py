# SPDX-License-Identifier: MIT
"""The file of a UNIX socket: bound, with its mode and owner, before anybody can connect, and taken away in the end.

It is bound by a name of its own and renamed when it is as it shall be, over what a daemon that was killed has left. One
on which somebody listens is not touched.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import socket
import stat
from contextlib import suppress
from pathlib import Path

from pdudaemon.config.options import ListenerOptions

_LONGEST = 107  # bytes of a path, less than in a socket's address


def check(path: str) -> None:
    """Raises: OSError if a socket cannot be there: something else is, or somebody listens."""
    if len(os.fsencode(max(path, beside(path), key=len))) > _LONGEST:
        raise OSError(errno.ENAMETOOLONG, "the path is too long for a socket")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "it is there already, and is no socket")
    with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError):
        probe.settimeout(1.0)
        probe.connect(path)
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def beside(path: str) -> str:
    """Return a name for the socket until it is as it shall be."""
    return str(Path(path).with_name(f".{secrets.token_hex(3)}"))  # short: there is not much room for a path


def dress(path: str, options: ListenerOptions) -> None:
    """Give a socket's file the mode and the owner that are configured. Raises: OSError."""
    os.chmod(path, int(options.socket_mode, 8))
    user, _, group = options.socket_owner.partition(":")
    try:
        uid = pwd.getpwnam(user).pw_uid if user else -1
        gid = grp.getgrnam(group).gr_gid if group else -1
    except KeyError as error:
        raise OSError(errno.EINVAL, f"socket_owner: {error.args[0]}") from None
    if (uid, gid) != (-1, -1):  # a hardened unit may not even ask for that
        os.chown(path, uid, gid)


def remove(path: str, inode: int) -> None:
    """Take a socket's file away, if it is still the one of that inode; 0: there is none."""
    with suppress(OSError):
        if os.lstat(path).st_ino == inode:
            os.unlink(path)
