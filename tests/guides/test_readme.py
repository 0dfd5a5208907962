# SPDX-License-Identifier: MIT
"""README's "Try it", followed as a guide is, with what ``make run`` starts; `test_fiveminutes` has the browser."""

from __future__ import annotations

from pathlib import Path

from tests.support.guides import Guide
from tests.support.process import ROOT


def test_try_it(tmp_path: Path) -> None:
    places = {"./pduclient": "pduclient", ".venv/bin/pdudaemon --conf share/pdudaemon.conf": "pdudaemon"}
    places |= {"/tmp/pdudaemon-demo": str(tmp_path / "demo")}
    with Guide("README", tmp_path / "guide", places, real=True) as guide:
        text = (ROOT / "README.md").read_text().partition("## Try it\n")[2].partition("\n## ")[0]
        guide.page = tmp_path / "README.md"
        guide.page.write_text(text)
        guide.conf.parent.mkdir(parents=True)
        guide.conf.write_text(guide.here((ROOT / "share" / "pdudaemon.conf").read_text()))
        guide.daemon.order("start")
        guide.follow()
