# SPDX-License-Identifier: MIT
"""The JSON of a configuration file: with comments, and with what Python's reader would pass over in silence.

A line that begins with ``#`` or ``//`` is a comment. Duplicate keys, and keys that are not valid Unicode, are noted for
whoever checks the object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pdudaemon.config import textfile
from pdudaemon.config.faults import Faults, Location
from pdudaemon.settings import has_surrogate

_COMMENT = re.compile(r"^[ \t]*(?:#|//).*$", re.MULTILINE)  # JSON has no line that begins so


class Object(dict[str, Any]):
    """A JSON object. ``duplicates`` are the keys that it has more than once, of which the last counts.

    ``surrogates`` are the keys with a lone surrogate, which are escaped, since they have no bytes.
    """

    def __init__(self, pairs: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__()
        self.duplicates: set[str] = set()
        self.surrogates: set[str] = set()
        for key, value in pairs:
            if has_surrogate(key):
                key = key.encode(errors="backslashreplace").decode()
                self.surrogates.add(key)
            if key in self:
                self.duplicates.add(key)
            self[key] = value


def read(path: str, faults: Faults) -> Object:
    """Return the object that a file holds. Raises: ConfigError."""
    # Spaces in place of comments, so that lines and columns stay what they are.
    text = _COMMENT.sub(lambda line: " " * len(line[0]), textfile.read(path, faults))
    try:
        whole = json.loads(text, object_pairs_hook=Object, parse_int=_number)
    except json.JSONDecodeError as error:
        faults.stop(Location(f"{path}:{error.lineno}:{error.colno}"), f"not valid JSON: {error.msg}")
    except RecursionError:
        faults.stop(Location(path), "not usable JSON: nested too deeply")
    if not isinstance(whole, Object):
        faults.stop(Location(path), "must be a JSON object with the sections daemon, pdus and aliases")
    return whole


def _number(digits: str) -> int | float:
    """Return a number of the file; what has more digits than Python reads is infinite, and a fault where it stands."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)
