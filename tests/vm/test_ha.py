# SPDX-License-Identifier: MIT
"""The daemon as a resource of the real Pacemaker, on two booted Debians: ``make test-ha``, as root.

``HA_ROUNDS`` says how often the daemon is hurt under load. What it costs is printed: for how long nobody answered, and
how much later than asked for a board came back on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm import clustertree, namespaces
from tests.vm.cluster import ROOT, Cluster, Node, until
from tests.vm.load import Labs, Told, Watch, ask, insist
from tests.vm.outlets import Outlets

ROUNDS = int(os.environ.get("HA_ROUNDS") or 7)
SEED = int(os.environ.get("HA_SEED") or time.time())
BOARD = "1"
LABS = ["11", "12", "13", "14"]
DELAY = 4.0  # seconds between the halves of a reboot

COMMAND = f"curl --silent --fail --max-time 5 http://{namespaces.ADDRESS}:8000"
CONF = {
    "daemon": {"hostname": "0.0.0.0", "port": 16421, "listener": "both"},
    "pdus": {"rack": {"driver": "localcmdline", "cmd_on": f"{COMMAND}/on/%s", "cmd_off": f"{COMMAND}/off/%s"}},
}


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Cluster, Outlets]]:
    """Return a cluster that runs, and the PDU that it switches."""
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
                cluster.start()
                yield cluster, outlets
            finally:
                cluster.stop()
                outlets.close()
                clustertree.unmount(work)


def power_cut(cluster: Cluster, active: Node) -> None:
    active.cut()


def network_out(cluster: Cluster, active: Node) -> None:
    active.cable(False)


def daemon_killed(cluster: Cluster, active: Node) -> None:
    active.hurt(signal.SIGKILL)


def daemon_hung(cluster: Cluster, active: Node) -> None:
    active.hurt(signal.SIGSTOP)


def moved(cluster: Cluster, active: Node) -> None:
    """As an administrator who wants to work at the node."""
    active.run("crm", "node", "standby", active.name)
    until(lambda: cluster.active() not in (None, active), what="the other node has it")
    active.run("crm", "node", "online", active.name)


def shut_down(cluster: Cluster, active: Node) -> None:
    """As an administrator who has not thought of the cluster."""
    active.shut_down()
    active.boot()


HURTS: list[Callable[[Cluster, Node], None]] = [power_cut, network_out, daemon_killed, daemon_hung, moved, shut_down]


def check_board(outlets: Outlets, since: float) -> float:
    """See that a reboot went off, on, and not too soon; return by how much it was late."""
    acts = outlets.of(BOARD, since)
    words = [act.word for act in acts]
    assert words and words == sorted(words), f"first off, then on: {acts}"
    off = [act for act in acts if act.word == "off"][-1]
    on = next(act for act in acts if act.word == "on")
    assert on.begun - off.ended >= DELAY - 0.01, f"on too soon: {acts}"
    return on.ended - off.ended - DELAY


def check_told(told: list[Told]) -> None:
    """See that everything that was acknowledged is there, and became what was said, or was to become."""
    for each in told:
        status, record = ask("GET", f"/api/v1/requests/{each.number}")
        assert status == 200 and record["action"] == each.action, (each, record)
        if each.status in (200, 201, 202):
            assert record["state"] == "done", (each, record)


def test_rounds(lab: tuple[Cluster, Outlets]) -> None:
    """Hurt in the middle of a reboot, under load, again and again."""
    cluster, outlets = lab
    dice = random.Random(SEED)
    watch, labs = Watch(), Labs(LABS, SEED)
    silent: dict[str, list[float]] = defaultdict(list)
    late: dict[str, list[float]] = defaultdict(list)
    print(f"\n{ROUNDS} rounds, HA_SEED={SEED}")
    told = [insist(f"{SEED}-first", "on", BOARD, 20.0)]
    try:
        for number in range(ROUNDS):
            hurt = HURTS[number % len(HURTS)]
            active = cluster.active()
            assert active is not None
            begin = time.monotonic()
            told.append(insist(f"{SEED}-{number}", "reboot", BOARD, 0.0, delay=DELAY))
            until(lambda begin=begin: outlets.of(BOARD, begin), what="the board is off")
            time.sleep(dice.uniform(0.0, DELAY))
            now = time.monotonic()
            hurt(cluster, active)
            until(lambda now=now: watch.longest(now), what="somebody answers again")
            until(lambda begin=begin: outlets.of(BOARD, begin)[-1].word == "on", what="the board is on")
            until(cluster.whole, what="all is as before")
            assert watch.since is None
            silent[hurt.__name__].append(watch.longest(now))
            late[hurt.__name__].append(check_board(outlets, begin))
            print(
                f"{number + 1:4} {hurt.__name__:14} silent {silent[hurt.__name__][-1]:5.1f} s   late {late[hurt.__name__][-1]:5.1f} s",
                flush=True,
            )
    finally:
        watch.end()
        labs.end()
    assert outlets.overlaps() == []
    check_told(told + labs.told)
    for port in LABS:
        last = [each for each in labs.told if each.port == port][-1]
        if last.status in (200, 201):
            assert outlets.state(port) == ("off" if last.action == "off" else "on")
    print(
        f"{len(told) + len(labs.told)} requests acknowledged, none lost; {len(outlets.acts)} acts, no two at once on an outlet"
    )
    print(f"{'':16} rounds  silent: median  worst    late: median  worst   (seconds)")
    for name in silent:
        figures = [f(values) for values in (silent[name], late[name]) for f in (statistics.median, max)]
        print("{:16} {:6} {:15.1f} {:6.1f} {:15.1f} {:6.1f}".format(name, len(silent[name]), *figures))
