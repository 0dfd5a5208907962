# SPDX-License-Identifier: MIT
"""Some of many cases of one kind, each of which costs more than it tells beside the others.

`make test` has a sample, always the same; all of them are run by night, with ``EVERY_CASE=1``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

Each = TypeVar("Each")
EVERY = os.environ.get("EVERY_CASE") == "1"


def part(cases: Iterable[Each], number: int, parts: int) -> list[Each]:
    """Return what of the cases falls to one of so many parts, each of which tries its own in another way."""
    return [*cases] if EVERY else [*cases][number::parts]


def some(cases: Iterable[Each], nth: int) -> list[Each]:
    """Return every so many of the cases, the first among them."""
    return [*cases][:: 1 if EVERY else nth]
