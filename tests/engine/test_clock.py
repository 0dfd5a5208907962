# SPDX-License-Identifier: MIT
"""The clocks of the machine, and which start of it they count from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pdudaemon.engine import clock
from pdudaemon.engine.clock import Clock


def test_what_time_it_is() -> None:
    before = (time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))
    found = (Clock().wall(), Clock().uptime())
    assert 0 <= found[0] - before[0] < 60 and 0 <= found[1] - before[1] < 60


def test_two_clocks_of_one_start_know_so_and_without_its_name_none_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Clock().boot == Clock().boot != ""
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "none")
    assert Clock().boot == ""
