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
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vm import clustertree, figures, namespaces
from tests.vm.cluster import PATIENCE, ROOT, STATE, Cluster, Node, until
from tests.vm.load import Labs, Told, Watch, ask, insist
from tests.vm.outlets import Outlets

ROUNDS = int(os.environ.get("HA_ROUNDS") or 7)
SEED = int(os.environ.get("HA_SEED") or time.time())
BOARD = "1"
LABS = ["11", "12", "13", "14"]
CLIENTS = ["15", "16"]  # of labs that run pduclient
LONG = 15.0  # seconds of silence of which the journals are kept, in dist/
DELAY = 4.0  # seconds between the halves of a reboot

HEALTH = "http://127.0.0.1:16421/healthz"
COMMAND = f"curl --silent --fail --max-time 5 http://{namespaces.ADDRESS}:8000"
CONF = {
    "daemon": {"hostname": "0.0.0.0", "port": 16421, "listener": "both"},
    "pdus": {"rack": {"driver": "localcmdline", "cmd_on": f"{COMMAND}/on/%s", "cmd_off": f"{COMMAND}/off/%s"}},
    "nodes": {f"board{port}": {"hostname": "rack", "port": port} for port in CLIENTS},
}


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def lab(booted: tuple[Cluster, Outlets]) -> tuple[Cluster, Outlets]:
    """Return a cluster in which the daemon runs, and the PDU that it switches."""
    booted[0].configure()
    return booted


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


def check_told(told: list[Told]) -> list[dict[str, Any]]:
    """See that everything that was acknowledged is there, and became what was said, or was to become; return it."""
    records = []
    for each in told:
        status, record = ask("GET", f"/api/v1/requests/{each.number}")
        assert status == 200 and record["action"] == each.action, (each, record)
        assert each.port == record["outlets"][0]["port"], (each, record)
        if each.status in (200, 201, 202):
            assert record["state"] == "done", (each, record)
        records.append(record)
    assert len({record["id"] for record in records}) == len(told)
    return records


def rebooting(cluster: Cluster, outlets: Outlets, name: str, delay: float = DELAY) -> tuple[Node, float, Told]:
    """Begin to reboot the board; return who does it, when it began, and what was told, once the board is off."""
    active = cluster.active()
    assert active is not None
    begin = time.monotonic()
    told = insist(f"{SEED}-{name}", "reboot", BOARD, 0.0, delay=delay)
    until(lambda: outlets.of(BOARD, begin), what="the board is off")
    return active, begin, told


def is_on(outlets: Outlets, begin: float) -> Callable[[], bool]:
    """Return what tells whether the board is on again."""
    return lambda: outlets.of(BOARD, begin)[-1].word == "on"


def test_the_agent_keeps_the_contract(booted: tuple[Cluster, Outlets]) -> None:
    """By what ClusterLabs' own tester makes of it, with the real systemd."""
    node = booted[0].nodes["ha2"]
    agent = "/usr/lib/ocf/resource.d/pdudaemon/pdudaemon"
    said = node.run("ocf-tester", "-n", "pdu", "-o", f"mount={STATE}", "-o", f"health_url={HEALTH}", agent)
    assert f"{agent} passed all tests" in said, said
    assert node.run("systemctl", "is-active", "pdudaemon", check=False).strip() == "inactive"


def test_rounds(lab: tuple[Cluster, Outlets]) -> None:
    """Hurt in the middle of a reboot, under load, again and again."""
    cluster, outlets = lab
    dice = random.Random(SEED)
    print(f"\n{ROUNDS} rounds, HA_SEED={SEED}")
    told = [insist(f"{SEED}-first", "on", BOARD, 20.0)]
    watch, labs = Watch(), Labs(LABS, CLIENTS, SEED)
    rounds: list[figures.Round] = []
    try:
        for number in range(ROUNDS):
            hurt = HURTS[number % len(HURTS)]
            active, begin, accepted = rebooting(cluster, outlets, str(number))
            told.append(accepted)
            time.sleep(dice.uniform(0.0, DELAY))
            now = time.monotonic()
            hurt(cluster, active)
            until(lambda now=now: watch.longest(now), what="somebody answers again")
            until(is_on(outlets, begin), what="the board is on")
            until(cluster.whole, what="all is as before")
            assert watch.since is None
            rounds.append(figures.Round(hurt.__name__, watch.longest(now), check_board(outlets, begin)))
            if watch.longest(now) > LONG:
                cluster.keep_journals(f"{SEED}-{number + 1}")
            print(
                f"{number + 1:4} {hurt.__name__:14} silent {rounds[-1].silent:5.1f} s   late {rounds[-1].late:5.1f} s",
                flush=True,
            )
    except AssertionError:
        cluster.keep_journals(f"{SEED}-{len(rounds) + 1}-failed")
        raise
    finally:
        watch.end()
        labs.end()
    assert outlets.overlaps() == []
    records = figures.by_port(check_told(told + labs.told))
    judged = [port for port, asked in records.items() if all(record["state"] == "done" for record in asked)]
    again = sum(
        figures.done_again([record["action"] for record in records[port]], [act.word for act in outlets.of(port)])
        for port in judged
    )
    print(
        f"{len(told) + len(labs.told)} requests acknowledged, none lost; {len(outlets.acts)} acts, no two at once on an outlet"
    )
    print(
        f"{len(judged)} of {len(records)} outlets had no failure: no request was done twice, {again} acts that were under way again"
    )
    print(f"pduclient: {labs.runs} runs, {labs.renewed} heard later what had become of it, {labs.untold} did not")
    print("\n".join(figures.table(rounds)))


def test_a_disk_that_hangs(lab: tuple[Cluster, Outlets]) -> None:
    """Nobody can kill who waits for it: the node is fenced, and the other one goes on as soon as the disk does."""
    cluster, outlets = lab
    cluster.fenced.clear()
    active, begin, told = rebooting(cluster, outlets, "disk")
    cluster.freeze(True)
    try:
        silent = until(lambda: cluster.fenced == [f"reboot {active.name}"], what="the node is fenced")
        time.sleep(5)
        other = cluster.active()
        assert other is None, f"{other and other.name} has opened a store that is not free"
    finally:
        cluster.freeze(False)
    again = until(lambda: cluster.active() not in (None, active), what="the other node goes on")
    until(is_on(outlets, begin), what="the board is on")
    until(cluster.whole, what="all is as before")
    check_board(outlets, begin)
    check_told([told])
    assert outlets.overlaps() == []
    print(f"\nthe disk hangs: fenced after {silent:.1f} s; {again:.1f} s after it answers again, the other node has it")


def test_a_split_without_fencing(lab: tuple[Cluster, Outlets]) -> None:
    """Both nodes think that they are alone, and reach PDU and disk. The store lets one of them act, whoever that is."""
    cluster, outlets = lab
    node = cluster.nodes["ha1"]
    node.run("crm", "configure", "property", "stonith-enabled=false", "no-quorum-policy=ignore")
    active, begin, told = rebooting(cluster, outlets, "split", 15.0)
    other = next(node for node in cluster.nodes.values() if node is not active)
    cluster.split(True)
    try:
        refused = "the store is in use by another pdudaemon"
        until(lambda: refused in other.run("journalctl", "--boot", "--unit=pdudaemon"), what="the other one is refused")
        until(is_on(outlets, begin), what="the board is on")
        assert [(act.word, act.who) for act in outlets.of(BOARD, begin)] == [
            ("off", active.address),
            ("on", active.address),
        ]
        # Now the one that has it dies, in the middle of the next: both want it, one gets it.
        begin = time.monotonic()
        order = {"action": "reboot", "hostname": "rack", "port": BOARD, "wait": 0, "delay": DELAY}
        words = ["--silent", "--json", json.dumps(order), "http://127.0.0.1:16421/api/v1/requests"]
        number = json.loads(active.run("curl", *words))["id"]
        until(lambda: outlets.of(BOARD, begin), what="the board is off")
        active.hurt(signal.SIGKILL)
        until(is_on(outlets, begin), what="the board is on")
        assert [act.word for act in outlets.of(BOARD, begin)] == ["off", "on"]
        assert [node.runs() for node in cluster.nodes.values()].count(True) == 1
    finally:
        cluster.split(False)
    # The one that was refused still tries, for as long as its start may take.
    until(cluster.whole, 3 * PATIENCE, what="the nodes have found each other")
    check_told([told, Told(number, "reboot", BOARD, 202)])
    assert outlets.overlaps() == []
