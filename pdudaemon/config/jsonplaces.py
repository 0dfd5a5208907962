# SPDX-License-Identifier: MIT
"""Where in a JSON text each key stands, so that a fault can be told with its line.

A second, lenient pass over a text that Python's reader has taken already, made only when there is something to tell.
"""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def lines(text: str) -> dict[str, int]:
    """Return the line, from 1 on, of every key, by its path (``pdus.a.port``, ``daemon.listeners[0].port``).

    ``text`` is valid JSON. Of a key that an object has more than once it is the last.
    """
    found: dict[str, int] = {}
    ways: list[str] = []  # the path of each object and list that is open
    counts: list[int | None] = []  # how many elements of it have begun; None: it is an object
    line, seen, word = 1, 0, ""
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        said = token[0]
        if said in "{[":
            ways.append(_begun(ways, counts, found, word, line))
            counts.append(None if said == "{" else -1)
            word = ""
        elif said in "}]":
            ways.pop()
            counts.pop()
        elif said == ":":
            found[_path(ways[-1], word)] = line
        elif said != ",":
            if counts and counts[-1] is not None:
                _begun(ways, counts, found, "", line)
            word = _key(said)
    return found


def _begun(ways: list[str], counts: list[int | None], found: dict[str, int], word: str, line: int) -> str:
    """Return the path of a value that begins: that of the key before it, or of the next element of a list."""
    if not ways:
        return ""
    count = counts[-1]
    if count is None:
        return _path(ways[-1], word)
    counts[-1] = count + 1
    path = f"{ways[-1]}[{count + 1}]"
    found[path] = line
    return path


def _path(way: str, word: str) -> str:
    return f"{way}.{word}" if way else word


def _key(said: str) -> str:
    try:
        return str(json.loads(said)).encode(errors="backslashreplace").decode()
    except ValueError:  # a number, a word: no key
        return said
