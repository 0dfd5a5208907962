# SPDX-License-Identifier: MIT
"""The text of a configuration file, or of a file that one names, whatever is in it."""

from __future__ import annotations

import errno
import io
from pathlib import Path

from pdudaemon.config.faults import Faults, Location

MOST = 64 << 20  # bytes: some /dev/zero must not take all memory


def read(path: str, faults: Faults) -> str:
    """Return the text of a file, without a byte order mark. Raises: ConfigError."""
    try:
        return content(Path(path), MOST)
    except OSError as error:
        faults.stop(Location(path), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.stop(Location(path), f"not valid UTF-8 at byte {error.start}")


def content(path: Path, most: int) -> str:
    """Return the text of a file of at most so many bytes, which is UTF-8 wherever we run, without a byte order mark.

    Raises: OSError, with its ``strerror``; UnicodeDecodeError.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"is larger than {most} bytes", str(path))
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()


def named(folder: Path, pattern: str) -> list[str]:
    """Return the files of a folder that have such a name, in order; those that are hidden are of editors at work."""
    return sorted(str(file) for file in folder.glob(pattern) if not file.name.startswith("."))
