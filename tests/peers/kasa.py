# SPDX-License-Identifier: MIT
"""tplink-smarthome-simulator: TP-Link Kasa devices that nobody here wrote, in a process of their own.

``KASA_SIMULATOR`` is the folder where ``npm install --ignore-scripts tplink-smarthome-simulator`` was run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.server import listening
from tests.support.ports import free_ports

SCRIPT = """
const [folder, model, port] = process.argv.slice(1);
const { Device } = require(folder + "/node_modules/tplink-smarthome-simulator");
const data = { alias: "Mock " + model, mac: "50:c7:bf:8f:58:18", deviceId: "A100" };
new Device({ port: Number(port), address: "127.0.0.1", model, data, unreliablePercent: 0 }).start();
"""


@contextmanager
def simulator(model: str) -> Iterator[int]:
    """Run a device, ``hs100`` (a plug) or ``hs300`` (a strip of six); yield its port."""
    folder = os.environ.get("KASA_SIMULATOR", "")
    if not shutil.which("node") or not (Path(folder) / "node_modules" / "tplink-smarthome-simulator").is_dir():
        pytest.skip("needs node, and KASA_SIMULATOR naming the folder with tplink-smarthome-simulator")
    (port,) = free_ports()
    with listening(["node", "-e", SCRIPT, str(Path(folder).resolve()), model, str(port)], port):
        yield port
