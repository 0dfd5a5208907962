# SPDX-License-Identifier: MIT
"""Groups as ClusterShell has them: a file ``groups.yaml``, or a ``groups.conf`` that says where such files are.

A file holds one or several sources, each a map of groups. In a text, ``@rack1`` is a group of the same source and
``@racks:rack1`` one of another; ``@racks:*`` are all nodes of a source, which its group ``all`` may say. Here the
groups of the default source go by their names, and those of others by ``racks:rack1``. The default source is that of
``groups.conf``, else the first one of the file.

Nodes that are not switched here are left out, since such files name all machines that there are. A group of which it
cannot be said what is in it is a fault, and is left out; ClusterShell takes it for empty.

Source: groups.conf(5), the example that comes with ClusterShell, and what its ``cluset`` says, up to 1.10.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdudaemon.config import textfile, yamlfile
from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.nodes import DEEPEST
from pdudaemon.errors import ConfigError
from pdudaemon.ranges import expanded, is_name
from pdudaemon.settings import near

_ALL = "all"
_AROUND = re.compile(r"\s*([,!&^])\s*")
_ONLY = "letters, digits and _ . - only"


@dataclass
class GroupsFile:
    """The sources that there are, each with its groups as they are written, and the file that each is in."""

    default: str = ""
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def location(self, name: str) -> Location:
        """Return where a group is, by the name that it has here."""
        return self._place(*self._parts(name))

    def groups(self, nodes: Collection[str], faults: Faults) -> dict[str, tuple[str, ...]]:
        """Return the nodes in each group, by the name that it has here, and add what is wrong with it."""
        found: dict[str, tuple[str, ...]] = {}
        known: dict[str, list[str]] = {}
        for source, groups in self.sources.items():
            for group in groups:
                name = group if source == self.default else f"{source}:{group}"
                place = self._place(source, group)
                try:
                    if not (is_name(group) and is_name(source)):
                        raise ValueError(f"not a valid name of a group: {_ONLY}")
                    every = self._members(source, group, (), known)
                except ValueError as error:
                    faults.add(place, "", str(error))
                    continue
                found[name] = tuple(node for node in every if node in nodes)
                if len(found[name]) < len(every):
                    first = next(node for node in every if node not in nodes)
                    others = len(every) - len(found[name]) - 1
                    text = f"{first!r}{f' and {others} more' if others else ''}"
                    faults.warn(place, "", f"left out, as there are no such nodes here: {text}")
        return found

    def _place(self, source: str, group: str) -> Location:
        return Location(self.files[source]).within(source).within(group)

    def _parts(self, name: str) -> tuple[str, str]:
        source, colon, group = name.rpartition(":")
        return (source, group) if colon else (self.default, group)

    def _members(self, source: str, group: str, way: tuple[str, ...], known: dict[str, list[str]]) -> list[str]:
        """Return the nodes in a group, whether they are known here or not. Raises: ValueError."""
        name = f"{source}:{group}"
        if name in known:
            return known[name]
        if name in way:
            raise ValueError(f"is a part of itself: {' -> '.join((*way, name))}")
        if len(way) > DEEPEST:
            raise ValueError(f"has more than {DEEPEST} groups within each other")
        if source not in self.sources:
            raise ValueError(f"there is no group source {source!r}{near(source, self.sources)}")
        if group not in self.sources[source]:
            raise ValueError(f"there is no group {name!r}{near(group, self.sources[source])}")

        def members(other: str) -> Iterable[str]:
            of, _, wanted = other.rpartition(":")
            return self._every(of or source, wanted, (*way, name), known)

        known[name] = expanded(_text(self.sources[source][group]), members)
        return known[name]

    def _every(self, source: str, group: str, way: tuple[str, ...], known: dict[str, list[str]]) -> list[str]:
        if group != "*" or _ALL in self.sources.get(source, ()):
            return self._members(source, _ALL if group == "*" else group, way, known)
        groups = self.sources.get(source, {"*": None})
        return [node for each in groups for node in self._members(source, each, way, known)]


def load(path: str, faults: Faults) -> GroupsFile:
    """Read a file, and those that it leads to. Raises: ConfigError where that concerns all of it."""
    found = GroupsFile()
    if Path(path).suffix != ".conf":
        _add(found, path, faults)
        found.default = next(iter(found.sources), "")
        return found
    for file in _read_conf(found, path, faults):
        try:
            _add(found, file, faults)
        except ConfigError:  # which is among the faults
            continue
    if found.default not in found.sources:
        wanted, found.default = found.default, next(iter(found.sources), "")
        if wanted:
            instead = f": {found.default!r} is taken" if found.default else ""
            faults.warn(Location(path), "default", f"there is no group source {wanted!r}{instead}")
    return found


def _read_conf(found: GroupsFile, path: str, faults: Faults) -> list[str]:
    """Return the files with groups that a ``groups.conf`` leads to; note the default source that it names."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(textfile.read(path, faults), path)
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        place = f"{path}:{line}" if line else path
        faults.stop(Location(place), f"not valid: {' '.join(str(error).split())}")
    main = next((name for name in parser.sections() if name.lower() == "main"), "")
    for name in parser.sections():
        if name != main:
            text = "left out: its groups are told by commands, which are not run here"
            faults.warn(Location(path).within(name), "", text)
    found.default = parser.get(main, "default", fallback="") if main else ""
    folders = parser.get(main, "autodir", fallback="$CFGDIR/groups.d") if main else ""
    files: dict[str, None] = {}
    for folder in folders.replace("$CFGDIR", str(Path(path).parent)).split():
        files.update(dict.fromkeys(textfile.named(Path(folder), "*.yaml")))
    if not files:
        faults.warn(Location(path), "autodir", f"there is no file *.yaml in {folders or 'any folder: none is named'}")
    return [*files]


def _add(found: GroupsFile, path: str, faults: Faults) -> None:
    """Add the sources of a file. Raises: ConfigError."""
    for source, groups in yamlfile.read(path, faults, "group sources").items():
        location = Location(path).within(source)
        if source in found.sources:
            faults.add(location, "", f"there is a group source {source!r} already: {found.files[source]}")
        elif not isinstance(groups, dict):
            faults.add(location, "", "must be a map of groups")
        else:
            found.sources[source], found.files[source] = groups, path


def _text(entry: object) -> str:
    """Return what a group is made of as `expanded` takes it: items of a list are added up from left to right, as words.

    Raises: ValueError.
    """
    texts: list[Any] = entry if isinstance(entry, list) else [entry]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a text of names and ranges, or a list of such")
    return ",".join(word for text in texts for word in _AROUND.sub(r"\1", text.strip()).split())
