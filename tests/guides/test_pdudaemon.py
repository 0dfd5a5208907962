# SPDX-License-Identifier: MIT
"""The guide for who comes from the existing PDUDaemon, with our client and with that of the existing daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.devices.rack import Rack
from tests.peers.formerclient import former_client
from tests.support.guides import Guide


@pytest.mark.parametrize("client", ["ours", "theirs"])
def test_the_guide(client: str, rack: Rack, tmp_path: Path) -> None:
    with Guide("pdudaemon", tmp_path / "guide", rack.places) as guide:
        if client == "theirs":
            guide.program("pduclient", f'{former_client()} "$@"')
        guide.path("/srv").mkdir()
        guide.follow()
        assert rack.acts == ["3 on", "3 off"]
        assert guide.path("/srv/relays").read_text() == "off 5\non 5\n"
