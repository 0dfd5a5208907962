# SPDX-License-Identifier: MIT
"""Names as cluster people write them: ``node[01-10]``, ``rack[1-2]n[1,3,5-7]``, ``node[1-9/2]``, ``@group``, ``gpu*``.

Between them stand ClusterShell's operators, which are carried out from left to right: ``,`` and, ``!`` without, ``&``
those in both, ``^`` those in one of both. Zero padding is kept: ``[01-10]`` counts with two digits, ``[0-2]`` with one,
and a range whose ends are padded to different widths is refused, for nobody knows which names it means. Ranges run
upwards.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator

MOST = 10000
"""Most names that one text, or any part of it, may stand for."""

MOST_IN_ALL = 10 * MOST
"""Most names that all parts of a text may stand for, those that are taken away or there twice among them."""

MOST_PATTERNS = 100
"""Most patterns in one text: each is held against all nodes."""

LONGEST_PATTERN = 1000
"""Most characters of a pattern: one of 64 KiB took half a second."""

_OPERATORS = (",", "!", "&", "^")
_ITEM = re.compile(r"[,!&^]|(?:[^,!&^\[]|\[[^\]]*\]?)+")
_PART = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")
_NAME = re.compile(r"[\w.-]+")
_LITERAL = re.compile(r"[\w./:-]+")  # of names behind those of sites, and of groups behind their sources
_PATTERN = re.compile(r"[\w.:*?-]+")
_SITE_PATTERN = re.compile(r"[\w./:*?-]+")
_LITERALS = {
    (False, False): _NAME,
    (False, True): _PATTERN,
    (True, False): _LITERAL,
    (True, True): _SITE_PATTERN,
}
"""What may stand outside brackets: behind sites or not, patterns or names only."""
_NUMBER = re.compile(r"(.*?)([0-9]{1,9})([^0-9]*)", re.ASCII | re.DOTALL)
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?:/([0-9]{1,9}))?)?", re.ASCII)


def is_name(text: str) -> bool:
    """Whether a text can be the name of a node or a group: letters, digits and ``_ . -``."""
    return _NAME.fullmatch(text) is not None


def is_literal(text: str) -> bool:
    """Whether a text is one name, no pattern; perhaps behind a site or source: ``berlin/board7``, ``racks:rack1``."""
    return _LITERAL.fullmatch(text) is not None


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern stands for: ``*`` is any text, ``?`` any one character."""
    return fnmatch.filter(names, pattern)


def expanded(
    text: str,
    members: Callable[[str], Iterable[str]] | None = None,
    nodes: Collection[str] | None = None,
    sites: bool = False,
) -> list[str]:
    """Return the names that a text stands for, in its order, each once; an empty text stands for none.

    ``members`` returns the names in an ``@group``, or in all groups of a pattern; ``nodes`` are the names among which
    patterns choose. Without these there are no groups, and no patterns. With ``sites`` names may stand behind those of
    sites: ``berlin/board[1-9]``.

    Raises: ValueError, quoting what is wrong, also for more names than `MOST`.
    """
    names: dict[str, None] = {}
    counted = patterns = 0
    for operator, item in _operands(text):
        group = members if item.startswith("@") else None
        if group and item == "@":
            raise ValueError(f"{text[:40]!r} names no group behind its @")
        found: list[str] = []
        patterned = bool(group) or nodes is not None
        for name in _expanded_item(item[1:] if group else item, _LITERALS[sites, patterned]):
            if not is_literal(name):
                patterns += 1
                if len(name) > LONGEST_PATTERN:
                    raise ValueError(f"{name[:40]!r} is a pattern of more than {LONGEST_PATTERN} characters")
            if group:
                found += group(name)
            else:
                found += [name] if is_literal(name) else matching(name, nodes or ())
            if patterns > MOST_PATTERNS:
                raise ValueError(f"{text[:40]!r} has more than {MOST_PATTERNS} patterns")
            if counted + len(found) > MOST_IN_ALL:
                raise ValueError(f"{text[:40]!r} stands for more than {MOST} names")
        counted += len(found)
        names = _combined(names, operator, dict.fromkeys(found))
        if len(names) > MOST:
            raise ValueError(f"{text[:40]!r} stands for more than {MOST} names")
    return list(names)


def folded(names: Iterable[str]) -> str:
    """Return a text that stands for names, in their order: ``board[1-3],gateway``."""
    items: list[tuple[str, str, str, int]] = []  # what is before the number and behind it, its digits, how many more
    for name in names:
        found = _NUMBER.fullmatch(name)
        before, digits, after = (found[1], found[2], found[3]) if found else (name, "", "")
        if digits and items:
            *same, first, more = items[-1]
            follows = int(first or -1) + more + 1
            if same == [before, after] and first and digits == f"{follows:0{len(first)}}":
                items[-1] = (before, after, first, more + 1)
                continue
        items.append((before, after, digits, 0))
    return ",".join(
        f"{before}[{first}-{int(first) + more:0{len(first)}}]{after}" if more else f"{before}{first}{after}"
        for before, after, first, more in items
    )


def _combined(names: dict[str, None], operator: str, others: dict[str, None]) -> dict[str, None]:
    """Carry out an operator; what that takes does not grow with the names that there are already, but for ``&``."""
    if operator == "&":
        return {name: None for name in names if name in others}
    if operator == ",":
        names.update(others)
    else:
        for name in others:
            if name in names:
                del names[name]
            elif operator == "^":
                names[name] = None
    return names


def _operands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each operator outside brackets with what follows it; the first is a comma that nobody writes."""
    words = [",", *_ITEM.findall(text)] if text else []
    for operator, item in itertools.zip_longest(words[::2], words[1::2], fillvalue=","):
        if item in _OPERATORS:
            beside = operator if item == "," else item
            fault = "a comma too many" if beside == "," else f"no name beside its {beside}"
            raise ValueError(f"{text[:40]!r} has {fault}")
        yield operator, item


def _expanded_item(item: str, literal: re.Pattern[str]) -> Iterator[str]:
    """Return the names, or patterns, that stand for a text without operators."""
    parts = _PART.findall(item)
    if "".join(parts) != item:
        raise ValueError(f"{item[:40]!r} has a bracket too many or too few")
    choices: list[list[str]] = []
    number = 1
    for part in parts:
        choices.append(_choices(part, item, literal))
        number *= len(choices[-1])
        if number > MOST:
            raise ValueError(f"{item[:40]!r} stands for more than {MOST} names")
    return map("".join, itertools.product(*choices))


def _choices(part: str, item: str, literal: re.Pattern[str]) -> list[str]:
    if not part.startswith("["):
        if not literal.fullmatch(part):
            raise ValueError(f"{item[:40]!r} is not a valid name: letters, digits and _ . - only")
        return [part]
    found: list[str] = []
    for word in part[1:-1].split(","):
        match = _RANGE.fullmatch(word)
        if match is None:
            raise ValueError(f"{item[:40]!r}: {word!r} is neither a number nor a range such as 01-10 or 1-9/2")
        first, last, step = match[1], match[2] or match[1], int(match[3] or 1)
        width = len(first) if first.startswith("0") else 1
        if (width > len(last)) or (re.match("0.", last) and len(last) != len(first)):
            raise ValueError(f"{item[:40]!r}: the ends of the range {word} are padded to different widths")
        if int(last) < int(first):
            raise ValueError(f"{item[:40]!r}: the range {word} runs downwards")
        if not step:
            raise ValueError(f"{item[:40]!r}: the range {word} has no step")
        numbers = range(int(first), int(last) + 1, step)
        if len(numbers) + len(found) > MOST:
            raise ValueError(f"{item[:40]!r} stands for more than {MOST} names")
        found += [f"{number:0{width}}" for number in numbers]
    return found
