# SPDX-License-Identifier: MIT
"""The guide for a daemon behind nginx, with the real one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.devices.rack import Rack
from tests.peers.proxies import nginx_with
from tests.support.guides import Guide
from tests.support.ports import free_ports
from tests.support.process import eventually


def test_the_guide(rack: Rack, tmp_path: Path) -> None:
    (port,) = free_ports()
    with ExitStack() as ends, Guide("nginx", tmp_path / "guide", rack.places) as guide:
        guide.program("systemd-tmpfiles", f"mkdir -p {guide.path('/run/pdudaemon-http')}")
        curl = f"connect-to = pdu.example.org:443:{guide.address}:{port}\n"  # the name leads here
        with (guide.home / ".curlrc").open("a") as file:
            file.write(curl)

        def reload(verb: str) -> None:
            conf = guide.path("/etc/nginx/conf.d/pdudaemon.conf")
            text = guide.here(conf.read_text()).replace("listen 443 ssl;", f"listen {guide.address}:{port} ssl;")
            ends.enter_context(nginx_with(tmp_path / "nginx", port, text))

        guide.services["nginx"] = reload
        guide.follow()
        assert rack.acts == ["3 on"]
        eventually(lambda: "for 127.0.0.1 (you) done" in guide.daemon.log.read_text())
