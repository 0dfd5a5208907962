# SPDX-License-Identifier: MIT
"""The lines DTR and RTS of a serial port of this machine, as two outputs that the kernel sets and tells.

The kernel raises both when the port is opened, and lowers them when it is closed unless told otherwise. So a port is
kept open, and is told to leave them as they are when we go. It is taken for ourselves alone: flock, as for a serial
line, and TIOCEXCL, which keeps out all but root.

Source: ioctl_tty(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Mapping

from pdudaemon.errors import DeviceError, PermanentError, TransientError

LINES = {"dtr": termios.TIOCM_DTR, "rts": termios.TIOCM_RTS}
_BITS = struct.Struct("i")
_CFLAG = 2


class ModemLines:
    """The lines of a port, which is held as long as this is. ``raised``: which of them, by name, to begin with.

    Raises, from all that is done with it: PermanentError (no access, no such lines), TransientError (in use, gone).
    """

    def __init__(self, path: str, raised: Mapping[str, bool]) -> None:
        self.peer = path
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.ioctl(self._descriptor, termios.TIOCEXCL)
            bits = self._bits() & ~sum(LINES.values())
            self._call(termios.TIOCMSET, bits | sum(LINES[name] for name, high in raised.items() if high))
            attributes = termios.tcgetattr(self._descriptor)
            attributes[_CFLAG] &= ~termios.HUPCL
            termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)
        except (OSError, termios.error) as error:
            self.close()
            raise self._as_ours(error) from None

    def read(self) -> dict[str, bool]:
        """Return whether each line is raised."""
        try:
            bits = self._bits()
        except OSError as error:
            raise self._as_ours(error) from None
        return {name: bool(bits & bit) for name, bit in LINES.items()}

    def write(self, name: str, raised: bool) -> None:
        """Raise a line, or lower it."""
        try:
            self._call(termios.TIOCMBIS if raised else termios.TIOCMBIC, LINES[name])
        except OSError as error:
            raise self._as_ours(error) from None

    def close(self) -> None:
        """Let go of the port."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _bits(self) -> int:
        return int(_BITS.unpack(fcntl.ioctl(self._descriptor, termios.TIOCMGET, _BITS.pack(0)))[0])

    def _call(self, number: int, bits: int) -> None:
        fcntl.ioctl(self._descriptor, number, _BITS.pack(bits))

    def _as_ours(self, error: OSError | termios.error) -> DeviceError:
        number = error.args[0]
        if number in (errno.EWOULDBLOCK, errno.EBUSY):
            return TransientError(f"{self.peer} is in use by another program")
        if number in (errno.EACCES, errno.EPERM):
            return PermanentError(f"no access to {self.peer}: the daemon's user must be in its group")
        if number in (errno.ENOTTY, errno.EINVAL):
            return PermanentError(f"{self.peer} has no lines DTR and RTS that could be set")
        return TransientError(f"{self.peer}: {os.strerror(number)}")
