# SPDX-License-Identifier: MIT
"""Files in folders where somebody else may put things too.

Root runs ``--drive``, ``--token`` or ``--unfinished`` beside a service that has a user of its own, and goes into that
user's folders. Whoever may write to a folder may put a link there, to have root write somewhere else, or give something
else away. So root follows no link that such a user can have made, on the whole way; a file is opened first, looked at,
and only then used; and what root makes belongs to the owner of the folder. Who is not root can be led nowhere that he
may not go, so for him the file alone is looked at.

Everything raises OSError, whose ``strerror`` says what is wrong in words.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MOST_LINKS = 40
_AT = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def place(path: Path, *, follow: bool = True, make: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the folder of a file, as a descriptor that is good for ``dir_fd``, and the file's name in there.

    ``follow``: a link in the file's own place is followed as those on the way are. ``make``: make missing folders.
    """
    whole, root = Path.cwd() / path, os.geteuid() == 0
    if make and not root:
        whole.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    folder = os.open("/" if root else whole.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    rest = deque(whole.parts[1:] if root else [whole.name])
    links = 0
    try:
        while len(rest) > 1 or follow:
            target = _link(folder, rest[0])
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise _refusal(errno.ELOOP, "too many symbolic links", whole)
                rest.popleft()
                rest.extendleft(reversed(target.parts))
                if target.is_absolute():
                    rest.popleft()
                    folder = _exchanged(folder, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            elif len(rest) > 1:
                folder = _exchanged(folder, _entered(folder, rest.popleft(), make))
            else:
                break
        yield folder, rest[0]
    finally:
        os.close(folder)


def opened(path: Path, flags: int, mode: int = 0o640) -> int:
    """Open a file; return its descriptor. What is already there is not emptied: ``flags`` has no O_TRUNC."""
    with place(path) as (folder, name):
        return opened_in(folder, name, flags, mode)


def unwaiting(path: str, flags: int) -> int:
    """Open a file that is read, for ``open``; return its descriptor. A pipe that nobody writes to is an empty file."""
    return os.open(path, flags | os.O_NONBLOCK)


def opened_in(folder: int, name: str, flags: int, mode: int = 0o640, *, ours: bool = False) -> int:
    """Open a file in its place; return its descriptor.

    Where others may put things it must be a plain file, by this name alone, and of root, of ourselves or of the owner
    of the folder. ``ours``: also elsewhere, since nobody but us has to do with such a file.
    """
    around = os.fstat(folder)
    strict = ours or _exposed(around)
    careful = os.O_NOFOLLOW
    if strict or flags & os.O_ACCMODE == os.O_RDONLY:  # a pipe must not hold us up
        careful |= os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(name, flags | careful | os.O_CLOEXEC, mode, dir_fd=folder)
    except OSError as error:
        why = {errno.ELOOP: "it is a symbolic link", errno.ENXIO: "it is not a plain file"}.get(error.errno or 0)
        raise (_refusal(error.errno or 0, why, name) if why else error) from None
    try:
        found = os.fstat(descriptor)
        if strict:
            if not stat.S_ISREG(found.st_mode):
                raise _refusal(errno.EPERM, "it is not a plain file", name)
            if found.st_nlink != 1:
                raise _refusal(errno.EPERM, f"it is one file by {found.st_nlink} names", name)
            if found.st_uid not in (0, os.geteuid(), around.st_uid):
                raise _refusal(errno.EPERM, f"it belongs to another user (uid {found.st_uid})", name)
        if flags & os.O_ACCMODE != os.O_RDONLY and os.geteuid() == found.st_uid == 0 != around.st_uid:
            os.fchown(descriptor, around.st_uid, around.st_gid)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def create(path: Path, text: str) -> None:
    """Make a private file with a text in it, whole or not at all, unless there is one.

    It is written beside, and gets its name once it is on the disk; of several who do this, one is first. What root
    makes can be read by the group of the folder.
    """
    with place(path, make=True) as (folder, name):
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            return
        beside = f".{name[:200]}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "w") as made:
                made.write(text)
                made.flush()
                if os.geteuid() == 0:
                    os.fchown(descriptor, -1, os.fstat(folder).st_gid)
                    os.fchmod(descriptor, 0o640)
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(beside, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.unlink(beside, dir_fd=folder)
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(listing)
        finally:
            os.close(listing)


@contextmanager
def as_owner(path: Path, *endings: str) -> Iterator[None]:
    """Be, as root, the owner of a file's folder, or of the file if the folder is root's. For a process of one thread.

    For a library that opens files by their names, this one and those with ``endings``: the kernel sees to it then that
    root is not led astray. What root once made there is given to that owner. A folder that he cannot even reach is no
    place where he puts things.
    """
    if os.geteuid() != 0:
        yield
        return
    with place(path, follow=False, make=True) as (folder, name):
        owner = os.fstat(folder)
        if owner.st_uid == 0:
            with suppress(FileNotFoundError):
                owner = os.stat(name, dir_fd=folder, follow_symlinks=False)
        else:
            for ending in ("", *endings):
                with suppress(FileNotFoundError):
                    os.close(opened_in(folder, f"{name}{ending}", os.O_RDWR))
    if owner.st_uid == 0:
        yield
        return
    former = os.getegid(), os.getgroups()
    try:
        _become(owner.st_uid, owner.st_gid, [owner.st_gid])
        if not os.access(path.parent, os.X_OK, effective_ids=True):
            _become(0, *former)
        yield
    finally:
        _become(0, *former)


def _become(user: int, group: int, groups: list[int]) -> None:
    os.seteuid(0)
    os.setgroups(groups)
    os.setegid(group)
    os.seteuid(user)


def _exposed(folder: os.stat_result) -> bool:
    """Whether anybody but root and ourselves may put things into a folder."""
    return folder.st_uid not in (0, os.geteuid()) or bool(folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _link(folder: int, name: str) -> Path | None:
    """Return where a link leads; None: it is none. It must be one that nobody can have put there to lead us astray."""
    try:
        found = os.open(name, _AT, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(found)
        if not stat.S_ISLNK(status.st_mode):
            return None
        if _exposed(os.fstat(folder)) and (status.st_uid not in (0, os.geteuid()) or status.st_nlink != 1):
            raise _refusal(errno.ELOOP, f"{name!r} on the way is a symbolic link of another user", name)
        return Path(os.readlink("", dir_fd=found))
    finally:
        os.close(found)


def _entered(folder: int, name: str, make: bool) -> int:
    """Open a folder in a folder; ``make``: one that root makes belongs to the owner of the folder around."""
    try:
        return os.open(name, _AT | os.O_DIRECTORY, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o750, dir_fd=folder)
        around = os.fstat(folder)
        if around.st_uid != 0:
            made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.fchown(made, around.st_uid, around.st_gid)
            finally:
                os.close(made)
    return os.open(name, _AT | os.O_DIRECTORY, dir_fd=folder)


def _exchanged(former: int, new: int) -> int:
    os.close(former)
    return new


def _refusal(number: int, why: str, where: str | Path) -> OSError:
    return OSError(number, why, str(where))
