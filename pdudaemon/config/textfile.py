# SPDX-License-Identifier: MIT
"""The text of a configuration file, whatever is in it."""

from __future__ import annotations

from pathlib import Path

from pdudaemon.config.faults import Faults, Location


def read(path: str, faults: Faults) -> str:
    """Return the text of a file, without a byte order mark. Raises: ConfigError."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        faults.stop(Location(path), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.stop(Location(path), f"not valid UTF-8 at byte {error.start}")
