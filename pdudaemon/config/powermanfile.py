# SPDX-License-Identifier: MIT
"""The configuration of powerman (LLNL's powermand), read as far as it says what there is: devices, nodes, aliases.

It is a row of words, which lines mean nothing to: a key word and its texts in double quotes. What is included is read
as if it stood there; of a ``specification`` only its name and those of its plugs are of use here, the dialogue is
passed over. Names are lists of hosts, ``node[0-7],login1``, separated by commas or blanks.

Source: powerman.conf(5), powerman.dev(5), and what powermand 2.3.27 says of files that it does not like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pdudaemon.config import textfile
from pdudaemon.config.faults import Faults
from pdudaemon.errors import ConfigError
from pdudaemon.ranges import MOST, expanded

_DEEPEST = 10  # files that include each other
_WORD = re.compile(r'[ \t\r]+|#[^\n]*|(?P<line>\n)|"(?P<text>(?:[^"\\\n]|\\.)*)"|(?P<bare>[{}]|[^\s"#{}]+)|(?P<bad>.)')
_HOSTS = re.compile(r"(?:[^,\s\[]|\[[^\]]*\]?)+")
_HOST = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]([^\[\]]*)")
_NAMED_PLUGS = "plug"


class Place(NamedTuple):
    """Where something stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Device:
    """What a line ``device`` says: a host and a port, a serial line with its flags, or a program with ``|&``."""

    name: str
    kind: str
    where: str
    flags: str
    place: Place

    @property
    def command(self) -> str:
        """The program that stands before the device, empty if there is none."""
        return self.where.removesuffix("|&").strip() if self.where.endswith("|&") else ""


@dataclass(frozen=True)
class Nodes:
    """What a line ``node`` says: names, and the plug of each. ``plugs`` is empty if they are not said."""

    names: list[str]
    plugs: list[str]
    device: str
    place: Place


@dataclass
class PowermanFile:
    """All of it. ``plugs`` are those that specifications name; ``other`` are words of no use here."""

    devices: dict[str, Device] = field(default_factory=dict)
    nodes: list[Nodes] = field(default_factory=list)
    aliases: list[tuple[str, list[str], Place]] = field(default_factory=list)
    plugs: dict[str, list[str]] = field(default_factory=dict)
    listen: list[tuple[str, Place]] = field(default_factory=list)
    other: list[tuple[str, Place]] = field(default_factory=list)
    missing: list[tuple[str, Place]] = field(default_factory=list)
    """Files that are included, and cannot be read: why."""


class _Word(NamedTuple):
    text: str
    quoted: bool
    place: Place


def load(path: str) -> PowermanFile:
    """Read a file and what it includes. Raises: ConfigError, with the line."""
    found = PowermanFile()
    _read(path, found, ())
    return found


def hosts(text: str) -> list[str]:
    """Return the names in a list of hosts, in order. Raises: ValueError, quoting what is wrong."""
    found: list[str] = []
    for item in _HOSTS.findall(text):
        if "[" not in item and "]" not in item:
            found.append(item)
        elif (parts := _HOST.fullmatch(item)) is None:
            raise ValueError(f"{item[:40]!r} has a bracket too many or too few")
        else:
            before, numbers, after = parts.groups()
            found += [f"{before}{each[1:]}{after}" for each in expanded(f"n[{numbers}]")]
        if len(found) > MOST:
            raise ValueError(f"{text[:40]!r} stands for more than {MOST} names")
    return found


def _read(path: str, found: PowermanFile, way: tuple[str, ...]) -> None:
    if path in way or len(way) > _DEEPEST:
        raise ConfigError(f"{path}: includes itself: {' -> '.join((*way, path))}")
    words = _Words(path)
    for word in words:
        kind = "" if word.quoted else word.text
        if kind == "include":
            file = str(Path(path).parent / _text(words, word))
            try:
                _read(file, found, (*way, path))
            except ConfigError as error:
                if Path(file).exists():
                    raise
                found.missing.append((str(error), word.place))
        elif kind == "specification":
            name = _text(words, word)
            found.plugs[name] = _plugs_of(words, word)
        elif kind == "device":
            name, type_, where = (_text(words, word) for _ in range(3))
            flags = _text(words, word) if _follows(words) else ""
            if name in found.devices:
                raise ConfigError(f"{word.place}: there is a device {name!r} already: {found.devices[name].place}")
            found.devices[name] = Device(name, type_, where, flags, word.place)
        elif kind == "node":
            names, device = (_text(words, word) for _ in range(2))
            plugs = _text(words, word) if _follows(words) else ""
            found.nodes.append(Nodes(_hosts(names, word), _hosts(plugs, word), device, word.place))
        elif kind == "alias":
            name, members = (_text(words, word) for _ in range(2))
            found.aliases.append((name, _hosts(members, word), word.place))
        elif kind == "listen":
            found.listen.append((_text(words, word), word.place))
        elif kind in ("tcpwrappers", "plug_log_level"):
            following = words.peek()
            said = following.text if following and (following.quoted or following.text in ("yes", "no")) else ""
            if said:
                next(words)
            found.other.append((f"{kind} {said}".strip(), word.place))
        else:
            said = f'"{word.text[:40]}"' if word.quoted else word.text[:40]
            raise ConfigError(f"{word.place}: {said!r} is no word of powerman's configuration")


class _Words(Iterator[_Word]):
    """The words of a file, one after the other; `peek` looks at the next one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found = self._split(textfile.read(path, Faults()))
        self._next: _Word | None = None

    def __next__(self) -> _Word:
        word, self._next = self._next, None
        return next(self._found) if word is None else word

    def peek(self) -> _Word | None:
        if self._next is None:
            self._next = next(self._found, None)
        return self._next

    def _split(self, text: str) -> Iterator[_Word]:
        line = 1
        for match in _WORD.finditer(text):
            place = Place(self._path, line)
            if match["line"]:
                line += 1
            elif match["bad"]:
                raise ConfigError(f"{place}: a text in double quotes does not end on its line")
            elif match["text"] is not None:
                yield _Word(re.sub(r"\\(.)", r"\1", match["text"]), True, place)
            elif match["bare"]:
                yield _Word(match["bare"], False, place)


def _follows(words: _Words) -> bool:
    """Whether a text in quotes comes next."""
    word = words.peek()
    return word is not None and word.quoted


def _text(words: _Words, of: _Word) -> str:
    """Return the text in quotes that comes next, which belongs to the word ``of``."""
    if not _follows(words):
        raise ConfigError(f"{of.place}: {of.text} has too few texts in double quotes")
    return next(words).text


def _hosts(text: str, of: _Word) -> list[str]:
    try:
        return hosts(text)
    except ValueError as error:
        raise ConfigError(f"{of.place}: {of.text}: {error}") from None


def _plugs_of(words: _Words, of: _Word) -> list[str]:
    """Pass over a specification; return the names of its plugs."""
    found: list[str] = []
    depth, last, listed = 0, "", False
    for word in words:
        if not word.quoted and word.text == "{":
            depth += 1
            listed = depth == 2 and last == f"{_NAMED_PLUGS} name"
        elif not word.quoted and word.text == "}":
            depth, listed = depth - 1, False
            if not depth:
                return found
        elif listed:
            found.append(word.text)
        else:
            last = f"{last.split()[-1] if last.split() else ''} {word.text}".strip() if not word.quoted else ""
    raise ConfigError(f"{of.place}: a specification that does not end")
