# SPDX-License-Identifier: MIT
"""Lines of a GPIO chip, by the kernel's character device (second version of its interface, Linux 5.10 and later).

A line belongs to whoever has it open: after that the kernel promises nothing of its level, and another program may take
it. So a line is kept, and it is taken as it is: only `Line.write` makes an output of it, with its value at once.

Source: the kernel's header for programs, <linux/gpio.h>.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pdudaemon.errors import DeviceError, PermanentError, TransientError

_CONSUMER = b"pdudaemon"
_ACTIVE_LOW, _OUTPUT = 2, 8
_VALUES = 2  # the attribute that says values
_CHIP = struct.Struct("=32s32sI")
_LINE_INFO = struct.Struct("=32s32sI188x")
_CONFIG = struct.Struct("=QI20xIIQQ216x")  # flags, an attribute (id, padding, values, mask), nine more
_REQUEST = struct.Struct(f"=I252x32s{_CONFIG.size}sII20xi")
_LEVELS = struct.Struct("=QQ")  # values, mask
_OTHERS = ("mips", "ppc", "powerpc", "sparc")  # whose numbers of calls have other bits for the direction


def _call(number: int, size: int, *, both: bool = True) -> int:
    """Return the number of an ioctl that reads a structure, or ``both`` writes and reads it."""
    other = os.uname().machine.startswith(_OTHERS)
    direction = (6 if both else 2) << 29 if other else (3 if both else 2) << 30
    return direction | size << 16 | 0xB4 << 8 | number


_GET_CHIP = _call(0x01, _CHIP.size, both=False)
_GET_LINE_INFO = _call(0x05, _LINE_INFO.size)
_GET_LINE = _call(0x07, _REQUEST.size)
_SET_CONFIG = _call(0x0D, _CONFIG.size)
_GET_VALUES = _call(0x0E, _LEVELS.size)


class Line:
    """One line, which is held as long as this is. ``chip`` is a path, or the label that a chip has.

    Raises, from all that is done with it: PermanentError (no access, no such line), TransientError (in use, gone).
    """

    def __init__(self, chip: str, offset: int, *, active_low: bool = False) -> None:
        self.peer = f"line {offset} of {chip}"
        self._flags = _ACTIVE_LOW if active_low else 0
        self._descriptor = -1
        with _opened(_found(chip), self.peer) as opened:
            request = bytearray(_REQUEST.pack(offset, _CONSUMER, _CONFIG.pack(self._flags, 0, 0, 0, 0, 0), 1, 0, 0))
            try:
                fcntl.ioctl(opened, _GET_LINE, request)
            except OSError as error:
                raise _as_ours(error, self.peer, _holder(opened, offset)) from None
        self._descriptor = _REQUEST.unpack(request)[-1]

    def read(self) -> bool:
        """Return whether it is active."""
        levels = bytearray(_LEVELS.pack(0, 1))
        self._do(_GET_VALUES, levels)
        return bool(_LEVELS.unpack(levels)[0] & 1)

    def write(self, active: bool) -> None:
        """Drive it, as an output from now on."""
        self._do(_SET_CONFIG, bytearray(_CONFIG.pack(self._flags | _OUTPUT, 1, _VALUES, 0, int(active), 1)))

    def _do(self, number: int, data: bytearray) -> None:
        try:
            fcntl.ioctl(self._descriptor, number, data)
        except OSError as error:
            raise _as_ours(error, self.peer) from None

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


@contextlib.contextmanager
def _opened(path: str, peer: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _as_ours(error, peer) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Chip(NamedTuple):
    """A chip of this machine; without a label, and of no lines, if we may not ask it."""

    path: str
    label: str
    lines: int


def chips() -> Iterator[Chip]:
    """Yield the chips of this machine."""
    for path in sorted(map(str, Path("/dev").glob("gpiochip*"))):
        info = bytearray(_CHIP.size)
        with contextlib.suppress(DeviceError, OSError), _opened(path, path) as opened:
            fcntl.ioctl(opened, _GET_CHIP, info)
        _, label, lines = _CHIP.unpack(info)
        yield Chip(path, _text(label), lines)


def missing(chip: str) -> str:
    """Say in words why no line of a chip can be had, empty if that can be; for which nothing is taken."""
    try:
        with _opened(_found(chip), f"GPIO chip {chip}") as opened:
            fcntl.ioctl(opened, _GET_CHIP, bytearray(_CHIP.size))
    except OSError:
        return f"{chip} is no GPIO chip"
    except DeviceError as error:
        return str(error)
    return ""


def _found(chip: str) -> str:
    """Return the path of a chip by its label, since chips are numbered anew at each start."""
    if "/" in chip:
        return chip
    there = [each for each in chips() if each.label]
    for each in there:
        if each.label == chip:
            return each.path
    labels = ", ".join(repr(each.label) for each in there)
    others = f", but {labels}" if labels else ", or none that we may ask"
    raise TransientError(f"there is no GPIO chip with the label {chip!r}{others}"[:300])


def _holder(chip: int, offset: int) -> str:
    """Return who holds a line, as it calls itself; empty if that is nobody, or not told."""
    info = bytearray(_LINE_INFO.pack(b"", b"", offset))
    try:
        fcntl.ioctl(chip, _GET_LINE_INFO, info)
    except OSError:
        return ""
    return _text(_LINE_INFO.unpack(info)[1])


def _text(said: bytes) -> str:
    return said.partition(b"\0")[0].decode(errors="replace")


def _as_ours(error: OSError, peer: str, holder: str = "") -> DeviceError:
    if error.errno == errno.EBUSY:
        return TransientError(f"{peer} is in use" + (f" by {holder!r}" if holder else ""))
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermanentError(f"no access to {peer}: the daemon's user must be in the group of the device")
    if error.errno == errno.EINVAL:
        return PermanentError(f"there is no {peer}, or it cannot be an output")
    if error.errno == errno.ENOTTY:
        return PermanentError(f"no {peer}: that is no GPIO chip, or the kernel is older than 5.10")
    return TransientError(f"{peer}: {error.strerror}")
