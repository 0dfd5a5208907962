# SPDX-License-Identifier: MIT
"""`Faults`: collects all that is wrong with a configuration, so that it is told at once, and makes its lines.

A line is ``FILE:LINE: PATH.KEY: TEXT``, or ``FILE:LINE:COLUMN: TEXT`` of what could not be parsed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from pdudaemon.errors import ConfigError, printable
from pdudaemon.settings import Setting, near

_LINE = re.compile(r":[0-9]+(?=: )")
_LONGEST_PATH, _LONGEST_TEXT = 200, 1000  # characters that are told


def unplaced(told: str) -> str:
    """Return the line of a fault without its place in the file, which moves when something is written above it."""
    return _LINE.sub("", told, count=1)


@dataclass(frozen=True)
class Location:
    """A place in a file: the names that lead there (``pdus.a``), none for the file as a whole.

    ``row`` is what stands there, for one of the many nodes of an entry: ``nodes.n[1-9]`` for ``nodes.n3``.
    """

    file: str
    path: str = ""
    row: str = field(default="", compare=False)

    def within(self, name: str) -> Location:
        """Return the location of what has a name here."""
        return Location(self.file, _within(self.path, name), self.row and _within(self.row, name))

    def one_of(self, row: str) -> Location:
        """Return the location, which is here, of one of those that an entry beside it stands for."""
        return replace(self, row=_within(self.path.rpartition(".")[0], row))


def _within(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, with a key at a location, or with all of it (no key)."""

    location: Location
    key: str
    text: str
    fatal: bool = False

    @property
    def without_file(self) -> str:
        """The fault as it is told to who knows the file: one line, whatever stands in there."""
        path = printable(self._at.path, _LONGEST_PATH)
        text = printable(self.text, _LONGEST_TEXT)
        return f"{path}: {text}" if path else text

    @property
    def places(self) -> tuple[str, ...]:
        """The paths by which its line may be found, the best first."""
        return self._at.path, self._at.row, self.location.path, self.location.row

    @property
    def said_alike(self) -> object:
        """What is the same for all nodes of an entry that have the same fault; None: it is of no such node."""
        return (self._at.file, self._at.row, self.text) if self._at.row else None

    @property
    def _at(self) -> Location:
        return self.location.within(self.key) if self.key else self.location


class Faults:
    """What has been found so far: fatal faults, those that disable what they are in, and warnings."""

    def __init__(self) -> None:
        self._faults: dict[Location, list[Fault]] = {}
        self._lines: list[Fault] = []
        self._warnings: list[Fault] = []
        self._places: dict[str, Callable[[], Mapping[str, int]]] = {}

    def read(self, file: str, lines: Callable[[], Mapping[str, int]]) -> None:
        """Note that a file has been read; ``lines`` returns the line of each path in it, and is called if need be."""
        self._places[file] = functools.cache(lines)

    def add(self, location: Location, key: str, text: str, fatal: bool = False) -> None:
        """Add a fault; a fatal one prevents the start."""
        fault = Fault(location, key, text, fatal)
        self._faults.setdefault(location, []).append(fault)
        self._lines.append(fault)

    def warn(self, location: Location, key: str, text: str) -> None:
        """Add a warning, which disables nothing."""
        self._warnings.append(Fault(location, key, text))

    def check_keys(
        self, location: Location, given: Iterable[str], known: Mapping[str, Setting[Any]], others: Collection[str] = ()
    ) -> None:
        """Warn of keys that are neither settings of ``known`` nor in ``others``, and of obsolete settings."""
        names = [*known, *others]
        for key in given:
            if key not in names:
                self.warn(location, key, f"unknown key{near(key, names)}")
            elif key in known and known[key].obsolete:
                self.warn(location, key, f"means nothing any more: {known[key].obsolete}")

    def stop(self, location: Location, text: str) -> NoReturn:
        """Add a fatal fault with which nothing more of a file can be read. Raises: ConfigError."""
        self.add(location, "", text, fatal=True)
        raise self.error()

    def at(self, location: Location) -> list[Fault]:
        """Return the faults at a location, not those within it."""
        return self._faults.get(location, [])

    @property
    def any_fatal(self) -> bool:
        """Whether the configuration does not allow a start."""
        return any(fault.fatal for fault in self._lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each fault, in the order in which they were found, but fatal ones first."""
        return self._all_told(sorted(self._lines, key=lambda fault: not fault.fatal))

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for each warning."""
        return self._all_told(self._warnings)

    def error(self) -> ConfigError:
        """Return the error that tells all of it."""
        return ConfigError(*self.lines, warnings=self.warnings)

    def _told(self, fault: Fault) -> str:
        """Return a fault with its file and, where it has one, the line of its key or of what that is missing in."""
        file = fault.location.file
        found = self._places[file]() if file in self._places else {}
        line = next(filter(None, map(found.get, fault.places)), None)
        return f"{file}{f':{line}' if line else ''}: {fault.without_file}"

    def _all_told(self, faults: Iterable[Fault]) -> tuple[str, ...]:
        """Return a line for each fault, but one for all nodes of an entry that have the same."""
        alike: dict[object, list[Fault]] = {}
        for fault in faults:
            alike.setdefault(fault.said_alike or id(fault), []).append(fault)
        return tuple(
            self._told(first) + (f", and so for {len(others)} more of {first.location.row}" if others else "")
            for first, *others in alike.values()
        )
