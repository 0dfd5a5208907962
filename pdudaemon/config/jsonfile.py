# SPDX-License-Identifier: MIT
"""The JSON of a configuration file: with comments, and with what Python's reader would pass over in silence.

A line that begins with ``#`` or ``//`` is a comment. Duplicate keys, and keys that are not valid Unicode, are noted for
whoever checks the object.

Beside a file there may be a folder ``conf.d``, whose files add to its sections, in the order of their names.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pdudaemon.config import jsonplaces, textfile
from pdudaemon.config.faults import Faults, Location
from pdudaemon.settings import has_surrogate

_COMMENT = re.compile(r"^[ \t]*(?:#|//).*$", re.MULTILINE)  # JSON has no line that begins so
_MUST_BE = "must be a JSON object with the sections daemon, pdus and aliases"


class Object(dict[str, Any]):
    """A JSON object. ``duplicates`` are the keys that it has more than once, of which the last counts; ``inner`` are
    those of objects in it, as paths.

    ``surrogates`` are the keys with a lone surrogate, which are escaped, since they have no bytes.
    """

    def __init__(self, pairs: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__()
        self.duplicates: set[str] = set()
        self.inner: set[str] = set()
        self.surrogates: set[str] = set()
        for key, value in pairs:
            if has_surrogate(key):
                key = key.encode(errors="backslashreplace").decode()
                self.surrogates.add(key)
            if key in self:
                self.duplicates.add(key)
            self[key] = value
            if isinstance(value, Object) and (value.duplicates or value.inner):
                self.inner |= {f"{key}.{each}" for each in value.duplicates | value.inner}


SECTIONS = ("pdus", "aliases", "nodes", "groups", "roles")
"""What the files of ``conf.d`` may hold; ``daemon`` stands in the one file that is named."""


def read_all(path: str, faults: Faults) -> tuple[Object, dict[tuple[str, str], str]]:
    """Return the object that a file and the folder beside it hold, and in which file each key of a section is.

    Of a key that several files have, the first counts. Raises: ConfigError.
    """
    whole = read(path, faults)
    files: dict[tuple[str, str], str] = {}
    for file in textfile.named(Path(path).parent / "conf.d", "*.json"):
        part = read(file, faults)
        for name in part:
            if name not in SECTIONS:
                where = "belongs into the file that is given by --conf" if name == "daemon" else "unknown key"
                faults.add(Location(file), name, where, fatal=True)
            elif name in part.duplicates:
                faults.add(Location(file), name, "duplicate key", fatal=True)
            elif not isinstance(part[name], Object):
                faults.add(Location(file), name, "must be a JSON object", fatal=True)
            elif not isinstance(section := whole.setdefault(name, Object()), Object):
                continue  # which is told of the file that has it
            else:
                _add(section, part[name], name, file, path, files, faults)
    return whole, files


def _add(
    section: Object, more: Object, name: str, file: str, first: str, files: dict[tuple[str, str], str], faults: Faults
) -> None:
    """Add what a file has for a section; what is there already is a fault of both."""
    section.surrogates |= more.surrogates
    section.duplicates |= more.duplicates
    for key, value in more.items():
        if key not in section:
            section[key], files[name, key] = value, file
            continue
        other = files.get((name, key), first)
        section.duplicates.add(key)
        faults.add(Location(file).within(name).within(key), "", f"duplicate key: it is in {other} as well")


def read(path: str, faults: Faults) -> Object:
    """Return the object that a file holds. Raises: ConfigError."""
    # Spaces in place of comments, so that lines and columns stay what they are.
    text = _COMMENT.sub(lambda line: " " * len(line[0]), textfile.read(path, faults))
    if not text.strip():
        faults.stop(Location(path), f"is empty, and {_MUST_BE}")
    try:
        whole = json.loads(text, object_pairs_hook=Object, parse_int=_number)
    except json.JSONDecodeError as error:
        place, said = error.pos, error.msg
        comma = text[:place].rstrip().endswith(",") and text[place : place + 1] in ("}", "]")
        if comma or said.startswith("Illegal trailing comma"):  # Python 3.13 says so, and is at the comma itself
            place, said = text.rindex(",", 0, place + 1), "a comma behind the last entry: remove it"
        line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
        faults.stop(Location(f"{path}:{line}:{column}"), f"not valid JSON: {said}")
    except RecursionError:
        faults.stop(Location(path), "not usable JSON: nested too deeply")
    faults.read(path, functools.partial(jsonplaces.lines, text))
    if not isinstance(whole, Object):
        faults.stop(Location(path), _MUST_BE)
    whole.pop("$schema", None)  # by which an editor finds what `pdudaemon --schema` has printed
    return whole


def _number(digits: str) -> int | float:
    """Return a number of the file; what has more digits than Python reads is infinite, and a fault where it stands."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)
