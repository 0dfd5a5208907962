# SPDX-License-Identifier: MIT
"""The guide for several labs: a front, and a site with the rack."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.devices.rack import Rack
from tests.support.guides import Guide
from tests.support.process import eventually


def test_the_guide(rack: Rack, tmp_path: Path) -> None:
    with Guide("sites", tmp_path / "berlin") as site:
        places = {**rack.places, "berlin.example.org": site.address}
        with Guide("sites", tmp_path / "guide", places) as guide:

            def berlin() -> None:
                site.conf.parent.mkdir(parents=True)
                shutil.copy(guide.path("/etc/pdudaemon/berlin.conf"), site.conf)
                site.conf.write_text(site.conf.read_text().replace(guide.address, site.address))
                site.daemon.order("start")

            def reached() -> None:
                up = 'pdudaemon_site_up{site="berlin"} 1'
                eventually(lambda: up in guide.run("curl -s http://lab.example.org:16421/metrics")[1])

            started = "sudo systemctl restart pdudaemon"
            guide.follow({"/etc/pdudaemon/berlin.conf": berlin, started: reached})
        assert rack.acts == ["1 on", "2 on", "1 off", "2 off", "3 on"]
