# SPDX-License-Identifier: MIT
"""OpenFlight's power-server: as this daemon speaks its API, with a topology and tokens, and as its own program does."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.openflight import OpenFlight
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.powerserver import TOKEN, Server
from tests.support.action import begun
from tests.support.process import Daemon
from tests.support.tokens import SECRET, good

TOPOLOGY = """
static_nodes:
  node01: {platform: sim, file: FOLDER/node01}
  node02: {platform: sim, file: FOLDER/node02}
platforms:
  sim:
    variables: [file]
    power_on: 'echo on >"$file"'
    power_off: 'echo off >"$file"'
    restart: 'echo restarted >>"$file"'
    status: '[ "$(head -n1 "$file")" = on ] || exit 111'
"""


def driver(port: int, seconds: float = 120, **settings: Any) -> OpenFlight:
    whole = {"driver": "openflight", "url": f"http://127.0.0.1:{port}", "token": TOKEN, **settings}
    return begun(OpenFlight("cluster", whole), seconds)


def test_this_daemon_as_a_power_server(tmp_path: Any, daemon: Any) -> None:
    for name in ("node01", "node02"):
        (tmp_path / name).write_text("off\n")
    far: Daemon = daemon({}, topology=TOPOLOGY.replace("FOLDER", str(tmp_path)), secret=SECRET)
    cluster = driver(far.port, token=good())
    cluster.port_on("node02")
    assert (tmp_path / "node02").read_text() == "on\n" and (tmp_path / "node01").read_text() == "off\n"
    assert cluster.read_outlets() == [
        OutletReading("node01", state=State.OFF),
        OutletReading("node02", state=State.ON),
    ]
    cluster.port_reboot("node02")
    assert (tmp_path / "node02").read_text() == "on\nrestarted\n"
    with pytest.raises(PermanentError, match=r"has no node 'node03'$"):
        cluster.port_on("node03")
    with pytest.raises(PermanentError, match=r"^login refused by \S+ at PATCH / \(40[13]\)"):
        driver(far.port).port_on("node01")


def test_nodes_that_fail() -> None:
    with Server() as device:
        device.failing = {"node02"}
        cluster = driver(device.port)
        with pytest.raises(TransientError, match=r"^127\.0\.0\.1 failed at on of node02$"):
            cluster.port_on("node02")
        assert [each.state for each in cluster.read_outlets()] == [State.OFF, State.UNKNOWN, State.OFF]


def test_names_that_the_program_lists_and_does_not_take() -> None:
    with Server() as device:
        device.outlets["gpu-1"] = "on"
        assert [(each.port, each.state) for each in driver(device.port).read_outlets()] == [
            ("node01", State.OFF),
            ("node02", State.OFF),
            ("gateway1", State.OFF),
            ("gpu-1", State.UNKNOWN),
        ]


def test_a_restart_of_its_own() -> None:
    settings = {"driver": "openflight", "url": "http://x", "token": TOKEN}
    assert not OpenFlight.restarts(settings) and OpenFlight.restarts({**settings, "restart": True})
    with Server() as device:
        driver(device.port, url=f"http://127.0.0.1:{device.port}").port_reboot("node01")
        assert device.restarts == 1 and device.outlets["node01"] == "off"


def test_a_path_before_its_own() -> None:
    with Server() as device, pytest.raises(PermanentError, match="answered 404"):
        driver(device.port, url=f"http://127.0.0.1:{device.port}/power").port_on("node01")
    assert device.requests[0].target.startswith("/power/?nodes=node01")
