# SPDX-License-Identifier: MIT
"""`Device`: what one or several configured PDUs are in truth. One action at a time, in any process, may use it."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.transports import lockfile
from pdudaemon.transports.deadline import Deadline

log = logging.getLogger("pdud.runner")

KEPT = 1.0  # seconds for which the lock on the file is kept after an action, since the next one often follows at once
LOOK_EVERY = 0.25  # seconds between two looks at whether a file that is kept is still there
_POLL = 0.05
_DEATH = 5.0  # seconds that killed processes may take to be gone


class Device:
    """A device, which may be configured as several PDUs (``lock``): only one action at a time, in any process.

    ``lock`` keeps our own threads apart. The lock on the file is for other processes: another daemon, ``--drive``, and
    above all a command that outlived a killed daemon, which inherited the descriptor.

    The dispatcher's are: ``request``, the number of the one that it was switched for last; ``stuck``, in words, which
    PDUs do not answer because of an action that does not come back; ``due``, when the action under way counts as such,
    infinite without one; and ``looked_at``, when that is looked at next (both in monotonic seconds). ``survey`` is set
    to have who reads all of the device come to an end.
    """

    def __init__(self, path: Path | None) -> None:
        self.lock = threading.Lock()
        self.last_action = float("-inf")
        self.request = 0
        self.stuck = ""
        self.survey: threading.Event | None = None
        self.due = self.looked_at = float("inf")
        self.kept = False  # the file is locked, though perhaps nothing acts
        self._path = path
        self._descriptor: int | None = None
        self._looked = float("-inf")
        self._guard = threading.Lock()  # of the next two; taken last of all locks
        self._in_use = False
        self._forgotten = False

    def remember(self) -> None:
        """Have a PDU (again)."""
        with self._guard:
            self._forgotten = False

    def forget(self) -> None:
        """Have no PDU any more: the file is closed and taken away, at once or when what acts has ended. Never waits."""
        with self._guard:
            self._forgotten = True
            if not self._in_use:
                self._part()

    def close(self) -> None:
        """Close the file, unless something acts."""
        with self._guard:
            if self._descriptor is not None and not self._in_use:
                self._close(self._descriptor)
                self.kept = False

    def is_free(self) -> bool:
        """Lock the file, as `take` does, unless another process has it; return whether it is ours.

        ``lock`` is held, as for `take`, which comes next in any case, and knows what cannot be done here.
        """
        if self._path is None or self.kept:
            return True
        with self._guard:
            self._in_use = True
        with suppress(OSError):
            if self._descriptor is None:
                self._descriptor = lockfile.opened(self._path)
            if lockfile.is_free(self._descriptor) and lockfile.is_current(self._descriptor, self._path):
                lockfile.sign(self._descriptor)
                self.kept, self._looked = True, time.monotonic()
        return self.kept

    def take(self, seconds: float, stopping: threading.Event) -> int | None:
        """Lock the file within some seconds, unless it still is; return its descriptor.

        ``lock`` is held, until after `release`.

        Raises: TransientError if another process keeps it, or ``stopping`` is set while we wait for it.
        """
        if self._path is None:
            return None
        with self._guard:
            self._in_use = True
        if self.kept and self._descriptor is not None:
            now = time.monotonic()
            if now - self._looked <= LOOK_EVERY:  # to look costs two calls of the system
                return self._descriptor
            self._looked = now
            with suppress(OSError):  # as in `_unlock`
                if lockfile.is_current(self._descriptor, self._path):
                    return self._descriptor
        self._unlock()
        descriptor = self._taken(self._path, Deadline(seconds), stopping)
        self.kept = True
        return descriptor

    def release(self, keep: bool) -> None:
        """The action has ended: give the file back now, or ``keep`` it for whoever follows: see `let_go`."""
        self.last_action = time.monotonic()
        if not keep:
            self._unlock()
        with self._guard:
            self._in_use = False
            if self._forgotten:
                self._part()

    def let_go(self, at_once: bool = False) -> bool:
        """Give the file back if nothing has acted for a while; return whether it is. Any worker of the device."""
        if self.lock.acquire(blocking=False):
            try:
                if at_once or time.monotonic() - self.last_action >= KEPT:
                    self._unlock()
            finally:
                self.lock.release()
        return not self.kept

    def _unlock(self) -> None:
        if self.kept and self._descriptor is not None:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # also for what a command has left running
            except OSError as error:  # code of somebody else has closed it: one that is ours is opened the next time
                log.error("%s: %s", self._path, error.strerror)
                self._descriptor = None
        self.kept = False

    def _taken(self, path: Path, deadline: Deadline, stopping: threading.Event) -> int:
        try:
            while True:
                if self._descriptor is None:
                    self._descriptor = lockfile.opened(path)
                self._await(self._descriptor, deadline, stopping)
                if lockfile.is_current(self._descriptor, path):
                    with suppress(OSError):  # no room: nobody will be told whose it is, but locked it is
                        lockfile.sign(self._descriptor)
                    return self._descriptor
                os.close(self._descriptor)
                self._descriptor = None
        except OSError as error:
            raise TransientError(f"the lock file {path} cannot be used: {error.strerror}") from None

    def _await(self, descriptor: int, deadline: Deadline, stopping: threading.Event) -> None:
        """Wait until the file is ours; when the time is over, a command whose daemon is gone is ended."""
        ended = False
        while not lockfile.is_free(descriptor):
            try:
                if stopping.wait(min(_POLL, deadline.remaining())):
                    raise TransientError("busy: stopping")
            except DeviceTimeout:
                if ended or not lockfile.end_orphan(descriptor):
                    holder = lockfile.signed(descriptor)
                    known = holder is not None and not holder.gone
                    log.error("%s is held by %s", self._path, holder if known else "another process")
                    held = f"held by {holder}" if known else f"another process holds {self._path}"
                    raise TransientError(f"busy: {held}") from None
                log.error("%s is held by a command of an earlier run, killed now", self._path)
                ended, deadline = True, Deadline(_DEATH)

    def _close(self, descriptor: int) -> None:
        with suppress(OSError):  # as in `_unlock`
            os.close(descriptor)
        self._descriptor = None

    def _part(self) -> None:
        if self._descriptor is not None:
            self._close(self._descriptor)
            self.kept = False
        if self._path is not None:
            with suppress(OSError):  # there is none, or it is not to be had: then it stays
                lockfile.remove(self._path)
