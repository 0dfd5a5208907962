# SPDX-License-Identifier: MIT
"""The guide for who comes from the existing PDUDaemon, with our client and with that of the existing daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.devices.netiojson import PASSWORD, Netio
from tests.peers.formerclient import former_client
from tests.support.guides import Guide


@pytest.mark.parametrize("client", ["ours", "theirs"])
def test_the_guide(client: str, tmp_path: Path) -> None:
    with Netio() as device:
        places = {'"ip": "192.0.2.9"': f'"ip": "127.0.0.1", "port": {device.port}', '"secret"': f'"{PASSWORD}"'}
        with Guide("pdudaemon", tmp_path / "guide", places) as guide:
            if client == "theirs":
                guide.program("pduclient", f'{former_client()} "$@"')
            (tmp_path / "guide" / "srv").mkdir()
            states: list[dict[str, str]] = []
            watched = "pduclient --daemon lab.example.org --hostname rack1 --port 03 --command on"
            guide.follow({watched: lambda: states.append({**device.outlets})})
            assert states == [{"1": "off", "2": "off", "3": "on", "4": "off"}]
            assert set(device.outlets.values()) == {"off"}
            assert guide.path("/srv/relays").read_text() == "off 5\non 5\n"
