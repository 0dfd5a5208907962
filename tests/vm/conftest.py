# SPDX-License-Identifier: MIT
"""The tests of this folder change the machine they run on: they are left out, except in a machine of `tests.vm`.

Those of a spare (``make test-ha``) share two booted nodes, which take half a minute to boot.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import clustertree, namespaces
from tests.vm.cluster import ROOT, Cluster
from tests.vm.load import CONF
from tests.vm.outlets import Outlets

collect_ignore_glob = [] if Path("/mnt/host/project.tar").exists() else ["test_*.py"]


@pytest.fixture(scope="session")
def booted() -> Iterator[tuple[Cluster, Outlets]]:
    """Return two nodes of a cluster that has nothing to do yet, and the PDU that it will switch."""
    clustertree.tree()
    namespaces.enter()
    with tempfile.TemporaryDirectory(prefix="pdudaemon-ha-", dir="/var/tmp") as name:
        work = Path(name)
        tree = clustertree.layered(work, sorted((ROOT / "dist").glob("*.deb")))
        disk = clustertree.disk(work)
        with (work / "console").open("wb") as console:
            cluster = Cluster(work, tree, disk, json.dumps(CONF), console)
            outlets = Outlets(namespaces.ADDRESS, cluster.fence)
            try:
                cluster.boot()
                yield cluster, outlets
            finally:
                cluster.stop()
                outlets.close()
                clustertree.unmount(work)


@pytest.fixture(scope="session")
def lab(booted: tuple[Cluster, Outlets]) -> tuple[Cluster, Outlets]:
    """Return a cluster in which the daemon runs, and the PDU that it switches."""
    booted[0].configure()
    return booted


def pytest_exception_interact(node: pytest.Item) -> None:
    """Keep what the nodes say of a test that has failed."""
    for cluster, _ in [each for name, each in getattr(node, "funcargs", {}).items() if name == "lab"]:
        cluster.keep_journals(node.name)
