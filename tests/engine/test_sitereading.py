# SPDX-License-Identifier: MIT
"""How far the clock of a site is off, by the date that it tells."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from pdudaemon.engine.sitereading import ahead

NOW = 1_700_000_000.0


@pytest.mark.parametrize("off", [-86400, -60, -3, 5, 7200])
def test_a_clock_that_is_off(off: int) -> None:
    assert ahead(formatdate(NOW + off, usegmt=True), NOW) == off + 0.5


@pytest.mark.parametrize("date", ["", "yesterday", formatdate(NOW, usegmt=True), formatdate(NOW + 1, usegmt=True)])
def test_a_clock_that_is_right_or_says_nothing(date: str) -> None:
    assert ahead(date, NOW) == 0.0
