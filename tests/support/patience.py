# SPDX-License-Identifier: MIT
"""Tests of what becomes of a device that says nothing for a while, on a machine that may itself stand still for one."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def with_patience(attempt: Callable[[float], None], seconds: float = 0.3) -> None:
    """Call ``attempt`` with some seconds, of a deadline or a silence, within which nothing else may take place.

    Where the machine stood still for longer, something else has: then there is another attempt with ten times as many,
    and one with a hundred times. What is a fault of ours is one in each of them.
    """
    for longer in (seconds, 10 * seconds):
        try:
            attempt(longer)
        except (Exception, pytest.fail.Exception):
            continue
        return
    attempt(100 * seconds)
