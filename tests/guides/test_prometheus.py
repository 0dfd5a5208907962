# SPDX-License-Identifier: MIT
"""The guide for Prometheus, with the real one and its promtool."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.devices.rack import Rack
from tests.peers.prometheus import configured, promtool
from tests.support.guides import Guide
from tests.support.ports import free_ports
from tests.support.process import eventually

pytestmark = pytest.mark.one_at_a_time("prometheus")


def test_the_guide(rack: Rack, tmp_path: Path) -> None:
    assert promtool("--version").returncode == 0
    (port,) = free_ports()
    where = f"127.0.0.1:{port}"
    places = {
        **rack.places,
        "localhost:9090": where,
        "scrape_interval: 15s": "scrape_interval: 1s",
        '"poll": 30': '"poll": 1',
    }
    with ExitStack() as ends, Guide("prometheus", tmp_path / "guide", places) as guide:

        def start(verb: str) -> None:
            configuration = guide.path("/etc/prometheus/prometheus.yml")
            server = ends.enter_context(configured(tmp_path / "data", configuration, where))
            eventually(lambda: server.query("sum(pdudaemon_outlet_watts)"), 60)

        guide.services["prometheus"] = start
        guide.follow()
        assert rack.on == {"3"}
