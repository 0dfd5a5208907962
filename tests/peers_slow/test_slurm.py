# SPDX-License-Identifier: MIT
"""Slurm itself, following the guide: it switches machines off and on that have a BMC each."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path

from tests.devices.ipmi import PASSWORD, LanBMC
from tests.peers.slurm import slurm
from tests.support.guides import Guide
from tests.support.process import eventually

SOFT = (0x00, 0x02, b"\x05")


def test_the_guide(tmp_path: Path) -> None:
    with ExitStack() as ends:
        bmcs = {name: ends.enter_context(LanBMC()) for name in ("node1", "node2")}
        ports = [bmc.port for bmc in bmcs.values()]
        node = {"platform": "bmc", "ip": "127.0.0.1", "port": ports, "password": PASSWORD}
        places = {"{platform: bmc, password: secret}": json.dumps(node), "SuspendTimeout=180": "SuspendTimeout=3"}
        guide = ends.enter_context(Guide("slurm", tmp_path / "guide", places))
        power = {name: lambda bmc=bmc: bmc.outlets["1"] == "on" for name, bmc in bmcs.items()}
        cluster = ends.enter_context(
            slurm(tmp_path / "slurm", guide.address, guide.path("/etc/slurm/power.conf"), power)
        )
        guide.environment["SLURM_CONF"] = str(cluster.conf)
        guide.services["slurmctld"] = cluster.control
        guide.follow()
        eventually(lambda: bmcs["node1"].outlets["1"] == "off", 60)  # which the guide ends with
        assert SOFT in bmcs["node1"].asked and bmcs["node2"].outlets["1"] == "on"
        eventually(lambda: cluster.state("node1") == "IDLE+POWERED_DOWN", 60)
        code, said = guide.run("srun --nodelist=node1 --chdir=/ echo it ran")
        assert (code, said) == (0, "it ran\n")
        assert bmcs["node1"].outlets["1"] == "on"
        log = re.sub(r" after \d+ s$", "", guide.path("/var/log/slurm/power.log").read_text(), flags=re.MULTILINE)
        told = ["pduclient: node1: shut down by itself", "starting: node1", "starting: node[1-2]", "stopping: node1"]
        assert sorted(log.splitlines()) == told
        token = "PDUCLIENT_TOKEN=$(cat /etc/slurm/pdudaemon.token)"
        code, said = guide.run(f"{token} pduclient restart --yes --url http://lab.example.org:16421 node1")
        assert code == 1 and bmcs["node1"].outlets["1"] == "on", said  # its token is not good for that
