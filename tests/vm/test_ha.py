# SPDX-License-Identifier: MIT
"""The daemon as a resource of the real Pacemaker, on two booted Debians: ``make test-ha``, as root.

``HA_ROUNDS`` says how often the daemon is hurt under load, 0 leaves that out. What it costs is printed: for how long nobody answered, and
how much later than asked for a board came back on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.vm import figures
from tests.vm.cluster import AGENT, HEALTH, PATIENCE, STATE, Cluster, Node, until
from tests.vm.load import CLIENTS, Labs, Told, Watch, insist
from tests.vm.outlets import Outlets
from tests.vm.reboots import BOARD, DELAY, SEED, check_board, check_told, is_on, rebooting

ROUNDS = int(os.environ.get("HA_ROUNDS") or 7)
LABS = ["11", "12", "13", "14"]
LONG = 15.0  # seconds of silence of which the journals are kept, in dist/


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


def test_the_agent_keeps_the_contract(booted: tuple[Cluster, Outlets]) -> None:
    """By what ClusterLabs' own tester makes of it, with the real systemd."""
    node = booted[0].nodes["ha2"]
    said = node.run("ocf-tester", "-n", "pdu", "-o", f"mount={STATE}", "-o", f"health_url={HEALTH}", AGENT)
    assert f"{AGENT} passed all tests" in said, said
    assert node.run("systemctl", "is-active", "pdudaemon", check=False).strip() == "inactive"


@pytest.mark.skipif(not ROUNDS, reason="HA_ROUNDS=0")
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
