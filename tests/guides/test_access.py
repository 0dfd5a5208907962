# SPDX-License-Identifier: MIT
"""The guide for who may do what: the farm is run, with TLS, tokens and roles."""

from __future__ import annotations

from pathlib import Path

from tests.devices.rack import Rack
from tests.support.guides import Guide


def test_the_guide(rack: Rack, tmp_path: Path) -> None:
    with Guide("access", tmp_path / "guide", rack.places) as guide:
        guide.places |= {"DNS:lab.example.org,IP:127.0.0.1": f"IP:{guide.address}"}
        guide.follow()
        assert rack.acts == ["1 on"]
