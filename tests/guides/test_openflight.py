# SPDX-License-Identifier: MIT
"""The guide for who comes from OpenFlight Power."""

from __future__ import annotations

from pathlib import Path

from tests.support.guides import Guide


def test_the_guide(tmp_path: Path) -> None:
    with Guide("openflight", tmp_path / "guide") as guide:
        outlets = tmp_path / "guide" / "srv"
        outlets.mkdir()
        for number in (1, 2, 3):
            (outlets / f"outlet{number}").write_text("on\n")
        guide.follow()
        assert [(outlets / f"outlet{number}").read_text() for number in (1, 2, 3)] == ["on\n", "off\n", "on\n"]
