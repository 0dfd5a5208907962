# SPDX-License-Identifier: MIT
"""`SignalPipe`: signals as numbers that the main thread takes one by one, since a handler must do nothing else."""

from __future__ import annotations

import contextlib
import os
import select
import signal


class SignalPipe:
    """What the main thread waits for: the numbers of signals, and others that threads put in.

    SIGHUP comes after all others, and several of them are one: a stop must not wait for reloads. A pipe, which the
    interpreter's own handler writes to as well, wakes the main thread.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._numbers: list[int] = []
        self._reload = False
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda number, _: self._enter(number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # what has come since the program began

    def put(self, number: int) -> None:
        """Put in a number. Any thread."""
        self._enter(number)
        with contextlib.suppress(BlockingIOError):  # full: the main thread wakes up anyway
            os.write(self._write, b"\0")

    def get(self) -> int:
        """Return the next number, waiting for it."""
        while (number := self.within(None)) is None:
            pass
        return number

    def within(self, seconds: float | None) -> int | None:
        """Return the next number if one comes within some seconds (None: for ever), else None."""
        if not (self.pressing or self._reload):
            select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 65536):
                pass
        if self._numbers:
            return self._numbers.pop(0)
        if self._reload:
            self._reload = False
            return signal.SIGHUP
        return None

    @property
    def pressing(self) -> bool:
        """Whether something other than SIGHUP waits."""
        return bool(self._numbers)

    def _enter(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        else:
            self._numbers.append(number)
