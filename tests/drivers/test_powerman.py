# SPDX-License-Identifier: MIT
"""powerman: against the real powermand, and what its server may answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.powerman import Powerman
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import powerman as fake
from tests.peers.powerman import powermand
from tests.support.action import begun
from tests.support.process import Daemon


def driver(port: int, seconds: float = 120) -> Powerman:
    return begun(Powerman("127.0.0.1", {"driver": "powerman", "port": port}), seconds)


def test_a_real_server(tmp_path: Path, daemon: Any) -> None:
    with powermand(tmp_path / "powerman") as server:
        running: Daemon = daemon({"127.0.0.1": {"driver": "powerman", "port": server.port}})
        for action in ("on", "off", "on"):
            assert running.power(action, "127.0.0.1", "n2", wait=20).status == 200
            assert server.outlets == {"n0": "off", "n1": "off", "n2": action, "n3": "off"}
            assert running.power("status", "127.0.0.1", "n2").text.strip() == action
        assert driver(server.port).read_outlets() == [
            OutletReading(node, state=State(state)) for node, state in server.outlets.items()
        ]
        assert driver(server.port).identify().model == "powerman"
        with pytest.raises(PermanentError, match=r"at on n9: No such nodes: n9 \(209\)$"):
            driver(server.port).port_on("n9")
        (server.folder / "ill").touch()
        with pytest.raises(TransientError, match=r"at off n2: d0: .*; Command completed with errors \(210\)$"):
            driver(server.port).port_off("n2")
        assert server.outlets["n2"] == "on"


def test_a_node_whose_state_its_device_does_not_tell() -> None:
    with fake.Powermand() as device:
        device.unknown = {"node2"}
        assert driver(device.port).port_status("node2") is State.UNKNOWN
        assert [each.state for each in driver(device.port).read_outlets()].count(State.UNKNOWN) == 1


def test_a_server_that_tells_what_its_devices_say() -> None:
    with fake.Powermand() as device:
        device.telemetry = True
        driver(device.port).port_on("node1")
        assert driver(device.port).port_status("node1") is State.ON
        assert len(driver(device.port).read_outlets()) == 4


def test_another_server() -> None:
    with fake.Powermand() as device:
        device.greeting = b"SSH-2.0-OpenSSH_9.2p1\r\n"
        with pytest.raises(PermanentError, match=r"is not a powerman server: it greets with b'SSH-2.0-"):
            driver(device.port).port_on("node1")
