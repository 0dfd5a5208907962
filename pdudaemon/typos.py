# SPDX-License-Identifier: MIT
"""What a mistyped word was meant to be."""

from __future__ import annotations

import difflib
import itertools
import string
from collections.abc import Collection, Iterable, Iterator

MOST_COMPARED = 100
"""How many words are compared with a mistyped one, which may take 15 us each."""

_MOST_TYPOS = 3000
_MOST_FOUND = 20
_LONGEST_TYPO = 250
_TYPED = string.ascii_lowercase + string.digits + "-_."


def near(word: str, words: Collection[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the word most like this one, or nothing.

    It takes a millisecond at most, however many words there are, since it may be asked for under a lock: of more than
    `MOST_COMPARED` only those are seen that are one typing mistake away, which are looked up. Give a mapping or a set.
    """
    word = word[:_LONGEST_TYPO]
    alike: Iterable[str] = words
    if len(words) > MOST_COMPARED:
        alike = itertools.islice(filter(words.__contains__, itertools.islice(_typos(word), _MOST_TYPOS)), _MOST_FOUND)
    match = difflib.get_close_matches(word, [*alike], n=1)
    return f"; did you mean {str(match[0])!r}?" if match else ""


def _typos(word: str) -> Iterator[str]:
    """Yield what may have been meant: a character less, two swapped, one more, one changed."""
    places = [(word[:number], word[number:]) for number in range(len(word) + 1)]
    for before, after in places:
        yield before + after[1:]
        yield before + after[1:2] + after[:1] + after[2:]
    for before, after in places:
        for letter in _TYPED:
            yield before + letter + after
            yield before + letter + after[1:]
