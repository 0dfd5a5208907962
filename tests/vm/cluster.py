# SPDX-License-Identifier: MIT
"""Two booted Debians, ha1 and ha2, with Corosync and Pacemaker, that share a disk and an address; and what hurts them.

The nodes are containers on a bridge (`tests.vm.namespaces`), set up as ``share/ha`` says. The disk is a file system of
its own, which can be frozen. A node's power is cut by killing the first process of its container, with its cable out;
Pacemaker does that, too, through a fence agent that asks `tests.vm.outlets`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tests.vm import namespaces
from tests.vm.base import program
from tests.vm.machine import APART, ROOT

ADDRESS = "10.77.0.100"  # of the daemon, wherever it is
STATE = "/var/lib/pdudaemon"
AGENT = "/usr/lib/ocf/resource.d/pdudaemon/pdudaemon"
HEALTH = "http://127.0.0.1:16421/livez"
PATIENCE = 120.0  # seconds for whatever a cluster does

FENCE_AGENT = f"""\
#!/bin/sh
while read -r line; do case "$line" in action=*) action=${{line#*=}} ;; port=* | plug=*) node=${{line#*=}} ;; esac; done
case "${{action:-$1}}" in
*metadata) cat <<'END'
<?xml version="1.0" ?>
<resource-agent name="fence_test" shortdesc="the power switch of the test">
<parameters><parameter name="plug"><content type="string"/></parameter></parameters>
<actions><action name="off"/><action name="on" automatic="0"/><action name="reboot"/><action name="status"/><action name="monitor"/>
<action name="list"/><action name="metadata"/></actions>
</resource-agent>
END
;;
monitor | list) exit 0 ;;
*) test "$(curl --silent --fail --max-time 30 "http://{namespaces.ADDRESS}:8000/fence/$action/$node")" != failed ;;
esac
"""

FENCING = """\
primitive fencing stonith:fence_test params pcmk_host_list="ha1 ha2" pcmk_delay_base="ha1:0s;ha2:2s" op monitor interval=60s
"""


def until(asked: Callable[[], object], seconds: float = PATIENCE, what: str = "") -> float:
    """Wait until something is so; return how long that took."""
    begin = time.monotonic()
    while not asked():
        assert time.monotonic() < begin + seconds, f"not within {seconds:.0f} s: {what or asked}"
        time.sleep(0.05)
    return time.monotonic() - begin


class Node:
    """One of both. ``power`` is whether its power is on."""

    def __init__(self, cluster: Cluster, name: str, address: str) -> None:
        self.cluster, self.name, self.address = cluster, name, address
        self.power = False
        self._group = f"pdudaemon-{name}-{os.getpid()}"
        self._machine: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._lock = threading.Lock()

    def boot(self) -> None:
        """Switch the power on."""
        with self._lock:
            if self._machine is not None:
                self._machine.wait(PATIENCE)
                self._tidy()
            path = namespaces.plug(self.name, self.address)
            binds = [f"--bind={self.cluster.disk}:{STATE}"]
            binds += [f"--bind-ro={self.cluster.work / name}:{target}" for name, target in self.cluster.files.items()]
            nspawn = [program("systemd-nspawn", "systemd-container"), "--register=no", "--keep-unit", "--quiet"]
            nspawn += [f"--directory={self.cluster.tree}", "--volatile=overlay", f"--machine={self.name}", *binds]
            nspawn += [f"--network-namespace-path={path}", "--capability=CAP_NET_ADMIN", "--console=pipe", "--boot"]
            apart = ["unshare", "--mount", "--propagation=private", "sh", "-c", APART, self._group]
            self._machine = subprocess.Popen(
                [*apart, *nspawn], stdin=subprocess.DEVNULL, stdout=self.cluster.console, stderr=subprocess.STDOUT
            )
            until(self._booted, what=f"{self.name} boots")
            self.power = True

    def _booted(self) -> bool:
        """Find the first process of the container, once it is there."""
        assert self._machine is not None and self._machine.poll() is None, f"{self.name} does not boot"
        pid = self._machine.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                self._leader = int(child)
                return True
        return False

    def cut(self) -> None:
        """Cut the power. What waits for a disk in there is gone only when that answers, but does nothing any more."""
        with self._lock:
            if self.power:
                self.power = False
                self.cable(False)
                assert self._machine is not None
                if self._machine.poll() is None:
                    os.kill(self._leader, signal.SIGKILL)

    def end(self) -> None:
        """Cut the power, and see all that was there gone."""
        self.cut()
        with self._lock:
            if self._machine is not None:
                self._machine.wait(PATIENCE)
                self._tidy()

    def _tidy(self) -> None:
        """Take away what a machine that has ended leaves."""
        for group in [*Path("/sys/fs/cgroup").glob(self._group), *Path("/sys/fs/cgroup").glob(f"*/{self._group}")]:
            subprocess.run(["find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], check=False)
        namespaces.unplug(self.name)
        self._machine = None

    def shut_down(self) -> None:
        """Have the node end itself, as at the end of a working day, and see it gone."""
        self.run("systemctl", "--no-block", "poweroff")
        assert self._machine is not None
        self._machine.wait(PATIENCE)
        self.end()

    def cable(self, plugged: bool) -> None:
        """Plug the network in, or out."""
        namespaces.ip("link", "set", f"v-{self.name}", "up" if plugged else "down")

    def run(self, *command: str, check: bool = True, typed: str = "") -> str:
        """Run something in the node; return what it prints."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i", "TERM=dumb"]
        enter += ["LC_ALL=C.UTF-8", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        done = subprocess.run([*enter, *command], input=typed, text=True, capture_output=True, timeout=PATIENCE)
        assert not check or done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def agent(self, action: str) -> int:
        """Run the agent as Pacemaker would; return its code."""
        with_words = f"OCF_ROOT=/usr/lib/ocf OCF_RESKEY_mount={STATE} OCF_RESKEY_health_url={HEALTH}"
        return int(self.run("sh", "-c", f"{with_words} {AGENT} {action} >/dev/null 2>&1; echo $?"))

    def put(self, path: str, data: bytes) -> None:
        """Write a file of the node."""
        Path(f"/proc/{self._leader}/root{path}").write_bytes(data)

    def hurt(self, number: signal.Signals) -> None:
        """Send the daemon a signal, and its commands as well."""
        self.run("systemctl", "kill", f"--signal={number.name}", "pdudaemon")

    def runs(self) -> bool:
        """Whether the daemon runs here, by what systemd says."""
        return self.power and self.run("systemctl", "is-active", "pdudaemon", check=False).strip() == "active"


class Cluster:
    """Both nodes. ``fenced`` tells whom Pacemaker has cut off, in its own words."""

    def __init__(self, work: Path, tree: Path, disk: Path, conf: str, console: BinaryIO) -> None:
        self.work, self.tree, self.disk, self.console = work, tree, disk, console
        self.fenced: list[str] = []
        self.nodes = {"ha1": Node(self, "ha1", "10.77.0.1"), "ha2": Node(self, "ha2", "10.77.0.2")}
        share = (ROOT / "share" / "ha" / "corosync.conf").read_text()
        plain = share.replace("crypto_cipher: aes256", "crypto_cipher: none").replace(
            "crypto_hash: sha256", "crypto_hash: none"
        )
        written = {"corosync.conf": plain, "pdudaemon.conf": conf, "fence_test": FENCE_AGENT}
        for name, text in written.items():
            (work / name).write_text(text)
            (work / name).chmod(0o755)
        self.files = {
            "corosync.conf": "/etc/corosync/corosync.conf",
            "pdudaemon.conf": "/etc/pdudaemon/pdudaemon.conf",
            "fence_test": "/usr/sbin/fence_test",
        }

    def boot(self) -> None:
        """Boot both, as a cluster that has nothing to do yet."""
        for node in self.nodes.values():
            node.boot()
        until(lambda: "Online: [ ha1 ha2 ]" in self.status("ha1"), what="both nodes are online")

    def configure(self) -> None:
        """Configure the cluster from the example that labs have."""
        load = "cat >/run/cluster.crm && crm configure load replace /run/cluster.crm"
        self.nodes["ha1"].run("sh", "-c", load, typed=self.configuration())
        until(self.whole, what="the daemon has started")

    def configuration(self) -> str:
        """Return the example, with the fencing of the test, and the disk in place of NFS."""
        text = (ROOT / "share" / "ha" / "cluster.crm").read_text()
        text = re.sub(r"\\\n", " ", text)
        lines = [
            line for line in text.splitlines() if not re.match(r"#|$|primitive (fence|pdu-store)|location fence", line)
        ]
        return FENCING + "\n".join(lines).replace("group pdu pdu-store ", "group pdu ") + "\n"

    def status(self, name: str) -> str:
        """Return what Pacemaker says of itself, as a node sees it."""
        return self.nodes[name].run("crm_mon", "-1", check=False) if self.nodes[name].power else ""

    def active(self) -> Node | None:
        """Return the node on which the daemon runs."""
        return next((node for node in self.nodes.values() if node.runs()), None)

    def whole(self) -> bool:
        """Whether both nodes are there, and the daemon runs on one of them, with nothing left to do."""
        active = self.active()
        if active is None:
            return False
        seen = self.status(active.name)
        return "Online: [ ha1 ha2 ]" in seen and len(re.findall(r"Started ha\d\s*$", seen, re.MULTILINE)) == 3

    def fence(self, word: str, name: str) -> str:
        """Do as Pacemaker wants with the power of a node; its power comes back by itself."""
        node = self.nodes[name]
        if word == "status":
            return "on" if node.power else "off"
        self.fenced.append(f"{word} {name}")
        if word in ("off", "reboot"):
            node.cut()
        if word in ("on", "reboot"):
            threading.Thread(target=node.boot).start()
        return "done"

    def keep_journals(self, name: str) -> None:
        """Write what both nodes have in their journals, since they were switched on, to ``dist``."""
        for node in self.nodes.values():
            if node.power:
                text = node.run("journalctl", "--boot", "--no-pager", "--output=short-precise", check=False)
                (ROOT / "dist" / f"ha-{name}-{node.name}.log").write_text(text)

    def split(self, apart: bool) -> None:
        """Have the nodes see each other no more, or again, though everybody else sees both."""
        for name in self.nodes:
            word = "on" if apart else "off"
            subprocess.run(["bridge", "link", "set", "dev", f"v-{name}", "isolated", word], check=True)

    def freeze(self, frozen: bool) -> None:
        """Have the disk take nothing any more, so that whoever writes waits, or let all of them go on."""
        subprocess.run(
            [program("fsfreeze", "util-linux"), "--freeze" if frozen else "--unfreeze", self.disk], check=True
        )

    def stop(self) -> None:
        """Cut the power of both."""
        for node in self.nodes.values():
            node.end()
