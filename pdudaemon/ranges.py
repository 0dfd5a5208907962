# SPDX-License-Identifier: MIT
"""Names as cluster people write them: ``node[01-10]``, ``rack[1-2]n[1,3,5-7]``, ``@group``, separated by commas.

Zero padding is kept: ``[01-10]`` counts with two digits, ``[0-2]`` with one. Ranges run upwards.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

MOST = 10000
"""Most names that one text may stand for, those that it has twice counted twice."""

_ITEM = re.compile(r",|(?:[^,\[]|\[[^\]]*\]?)+")
_PART = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")
_LITERAL = re.compile(r"[\w.-]+")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


def is_name(text: str) -> bool:
    """Whether a text can be the name of a node or a group: letters, digits and ``_ . -``."""
    return _LITERAL.fullmatch(text) is not None


def expanded(text: str, members: Callable[[str], Iterable[str]] | None = None) -> list[str]:
    """Return the names that a text stands for, in its order, each once; an empty text stands for none.

    ``members`` returns the names in an ``@group``; without it there are none to be named.

    Raises: ValueError, quoting what is wrong, also for more names than `MOST`.
    """
    names: list[str] = []
    for item in _items(text):
        if item.startswith("@") and members is not None:
            found = itertools.chain.from_iterable(map(members, _expanded_item(item[1:])))
            names += itertools.islice(found, MOST + 1)
        else:
            names += _expanded_item(item)
        if len(names) > MOST:
            raise ValueError(f"{text[:40]!r} stands for more than {MOST} names")
    return list(dict.fromkeys(names))


def _items(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    found = _ITEM.findall(text)
    items = found[::2]
    if "," in items or (found and len(found) % 2 == 0):
        raise ValueError(f"{text[:40]!r} has a comma too many")
    return items


def _expanded_item(item: str) -> Iterator[str]:
    parts = _PART.findall(item)
    if "".join(parts) != item:
        raise ValueError(f"{item[:40]!r} has a bracket too many or too few")
    choices: list[list[str]] = []
    number = 1
    for part in parts:
        choices.append(_choices(part, item))
        number *= len(choices[-1])
        if number > MOST:
            raise ValueError(f"{item[:40]!r} stands for more than {MOST} names")
    return map("".join, itertools.product(*choices))


def _choices(part: str, item: str) -> list[str]:
    if not part.startswith("["):
        if not _LITERAL.fullmatch(part):
            raise ValueError(f"{item[:40]!r} is not a valid name: letters, digits and _ . - only")
        return [part]
    found: list[str] = []
    for word in part[1:-1].split(","):
        match = _RANGE.fullmatch(word)
        if match is None:
            raise ValueError(f"{item[:40]!r}: {word!r} is neither a number nor a range such as 01-10")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first):
            raise ValueError(f"{item[:40]!r}: the range {word} runs downwards")
        if int(last) - int(first) + len(found) >= MOST:
            raise ValueError(f"{item[:40]!r} stands for more than {MOST} names")
        width = len(first) if first.startswith("0") else 0
        found += [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
    return found
