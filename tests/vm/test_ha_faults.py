# SPDX-License-Identifier: MIT
"""What an administrator may have forgotten on one of two nodes: it is told, and the other node goes on.

With the real Pacemaker, as `tests.vm.test_ha`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.vm.cluster import ROOT, STATE, Cluster, Node, until
from tests.vm.load import Told, Watch, ask
from tests.vm.outlets import Outlets
from tests.vm.reboots import check_board, check_told, is_on, rebooting

CONFIGURATION = "/etc/pdudaemon/pdudaemon.conf"
NOT_RUNNING, INSTALLED, ARGS = 7, 5, 2  # what an agent says


def told_and_gone_on(cluster: Cluster, outlets: Outlets, name: str, other: Node, why: str) -> None:
    """See that a move to a node that cannot have it comes to nothing, is told with the reason, and costs nothing."""
    assert other.agent("monitor") == NOT_RUNNING
    active, begin, told = rebooting(cluster, outlets, name)
    active.run("crm", "node", "standby", active.name)
    try:
        took = until(lambda: why in cluster.status(active.name), what=f"the status says {why}")
    finally:
        active.run("crm", "node", "online", active.name)
    until(is_on(outlets, begin), what="the board is on")
    back = until(cluster.whole, what="the node that is well has it again")
    assert cluster.active() is active
    check_board(outlets, begin)
    check_told([told])
    print(f"\n{name}: told after {took:.1f} s; {back:.1f} s later the other node has it again")


def mended(cluster: Cluster, other: Node) -> None:
    """See that the node is taken again some time after its fault was mended, without anybody saying so."""
    active = cluster.active()
    assert active is not None and active is not other
    active.run("crm", "node", "standby", active.name)
    until(lambda: cluster.active() is other, what="the mended node has it")
    active.run("crm", "node", "online", active.name)
    until(cluster.whole, what="all is as before")


def passive(cluster: Cluster) -> Node:
    return next(node for node in cluster.nodes.values() if not node.runs())


def starts(cluster: Cluster) -> int:
    """Return how often the daemon has started on nodes that have not been booted since."""
    journals = [node.run("journalctl", "--boot", "--unit=pdudaemon") for node in cluster.nodes.values()]
    return sum(journal.count("has started") for journal in journals)


@contextmanager
def unmounted(node: Node) -> Iterator[None]:
    node.run("sh", "-c", f"mkdir -p /run/kept && mount --bind {STATE} /run/kept && umount {STATE}")
    yield
    node.run("sh", "-c", f"mount --bind /run/kept {STATE} && umount /run/kept")


def test_a_fault_in_the_configuration(lab: tuple[Cluster, Outlets]) -> None:
    cluster, outlets = lab
    other = passive(cluster)
    other.put("/run/bad.conf", b'{"daemon": {"hostname": "0.0.0.0", "port": "here"}}')
    other.run("mount", "--bind", "/run/bad.conf", CONFIGURATION)
    try:
        assert other.agent("validate-all") == ARGS
        told_and_gone_on(cluster, outlets, "configuration", other, "daemon.port")
    finally:
        other.run("umount", CONFIGURATION)
    assert other.agent("validate-all") == 0
    mended(cluster, other)


def test_a_port_that_another_has(lab: tuple[Cluster, Outlets]) -> None:
    cluster, outlets = lab
    other = passive(cluster)
    other.run("systemd-run", "--unit=squatter", "python3", "-m", "http.server", "16421")
    try:
        told_and_gone_on(cluster, outlets, "port", other, "Address already in use")
    finally:
        other.run("systemctl", "stop", "squatter")
    mended(cluster, other)


def test_a_store_that_is_not_mounted(lab: tuple[Cluster, Outlets]) -> None:
    cluster, outlets = lab
    other = passive(cluster)
    with unmounted(other):
        told_and_gone_on(cluster, outlets, "mount", other, f"nothing is mounted on {STATE}")
        assert other.run("ls", STATE) == ""
    mended(cluster, other)


def test_what_starts_it_behind_the_back_of_the_cluster(lab: tuple[Cluster, Outlets]) -> None:
    cluster, _ = lab
    other = passive(cluster)
    for word in ("pdudaemon.service", "pdudaemon.socket"):
        other.run("systemctl", "enable", word)
        try:
            assert other.agent("validate-all") == other.agent("start") == INSTALLED
        finally:
            other.run("systemctl", "disable", word)
    assert other.agent("validate-all") == 0 and not other.runs()


def test_a_disk_that_is_full(lab: tuple[Cluster, Outlets]) -> None:
    """Nothing is accepted any more; what was is carried out, since the daemon is left alone, which no other could follow."""
    cluster, outlets = lab
    before = starts(cluster)
    _, begin, first = rebooting(cluster, outlets, "full")
    told = [first]
    filling = cluster.disk / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    order = {"action": "on", "hostname": "rack", "port": "12", "wait": 0}
    try:
        # As long as there is room in the log of the store something is accepted.
        while (answer := ask("POST", "/api/v1/requests", order))[0] != 503:
            told.append(Told(answer[1]["id"], "on", "12", answer[0]))
        assert answer[1]["type"] == "urn:pdudaemon:store", answer
        on = until(is_on(outlets, begin), what="the board is on, though the disk is full")
        time.sleep(20.0)
        assert starts(cluster) == before
    finally:
        filling.unlink()
    until(cluster.whole, what="all is as before")
    until(lambda: ask("POST", "/api/v1/requests", order)[0] in (200, 202), what="something is accepted again")
    until(
        lambda: all(ask("GET", f"/api/v1/requests/{each.number}")[1]["state"] == "done" for each in told),
        what="all is done",
    )
    check_board(outlets, begin)
    check_told(told)
    print(
        f"\nthe disk is full: {len(told)} requests were accepted before it was said; the board is on after {on:.1f} s"
    )


def test_an_upgrade(lab: tuple[Cluster, Outlets]) -> None:
    """Where it does not run nothing is started; where it runs Pacemaker is told not to mind."""
    cluster, outlets = lab
    active, other = cluster.active(), passive(cluster)
    assert active is not None
    debs = sorted((ROOT / "dist").glob("*.deb"))
    for node in (active, other):
        # Not bound from outside, where a package may set nothing.
        node.run("sh", "-c", f"cp {CONFIGURATION} /run/own && umount {CONFIGURATION} && cp /run/own {CONFIGURATION}")
        for deb in debs:
            node.put(f"/var/cache/{deb.name}", deb.read_bytes())
    install = f"dpkg --install {' '.join(f'/var/cache/{deb.name}' for deb in debs)}"
    other.run("sh", "-c", install)
    assert not other.runs() and active.runs() and other.agent("validate-all") == 0
    watch = Watch()
    try:
        _, begin, told = rebooting(cluster, outlets, "upgrade")
        active.run("crm", "configure", "property", "maintenance-mode=true")
        active.run("sh", "-c", install)
        until(active.runs, what="the daemon runs")
        active.run("crm", "configure", "property", "maintenance-mode=false")
        until(is_on(outlets, begin), what="the board is on")
        until(cluster.whole, what="all is as before")
    finally:
        watch.end()
    assert cluster.active() is active and active.agent("validate-all") == 0
    check_board(outlets, begin)
    check_told([told])
    print(f"\nan upgrade: nobody answers for {watch.longest(begin):.1f} s")
