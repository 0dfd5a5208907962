# SPDX-License-Identifier: MIT
"""`DiskSync`: one fdatasync for all who wait for the disk.

What was written before an fdatasync began is on the disk when it has ended; what was written meanwhile may not be. So
who comes while one runs waits for the next, with all others that do: 2,000 who come at once cost two.

After one that has failed the kernel takes what it could not write for written: the next one succeeds, and nothing of it
is on the disk (fsync(2); for the log of a store that is a hole, behind which nothing is read). So all fail from then
on, until the file is another one.
"""

from __future__ import annotations

import os
import threading


class _Round:
    """One fdatasync, and what came of it."""

    def __init__(self) -> None:
        self.ended = False
        self.error: OSError | None = None


class DiskSync:
    """Puts on the disk what was written to a file. Any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = _Round()  # which has not begun
        self._running = False
        self.failed: OSError | None = None

    def wait(self, descriptor: int) -> None:
        """Return when an fdatasync that began after the call has ended. Raises: OSError, of this one or one before."""
        with self._changed:
            mine = self._next
            while self._running and not mine.ended:
                self._changed.wait()
            leads = not mine.ended
            if leads:
                self._running, self._next = True, _Round()
        if leads:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                self.failed = error
            finally:
                with self._changed:
                    mine.error, mine.ended, self._running = self.failed, True, False
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error

    def begin_anew(self) -> None:
        """Forget what has failed: all that there was to write has been written into another file."""
        self.failed = None
