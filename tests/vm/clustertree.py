# SPDX-License-Identifier: MIT
"""The Debian from which both nodes of `tests.vm.cluster` boot: systemd, Pacemaker, Corosync, and the packages.

It is built at first use, from the package sources of this machine, in some three minutes, and again when this file has
changed. The packages under test go into a layer of their own, which lasts as long as the test.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.vm.base import FOLDER, SOURCES, program

HOME = FOLDER / "cluster"
USER = 997  # of the daemon, on both nodes, which share its files

INCLUDED = "systemd systemd-sysv dbus login passwd adduser udev procps iproute2 netbase libnss-systemd curl python3"
INCLUDED += " pacemaker corosync crmsh pacemaker-cli-utils resource-agents iputils-arping libxml2-utils"

HOSTS = "127.0.0.1 localhost\n10.77.0.1 ha1\n10.77.0.2 ha2\n"

# What a lab would do on each node, see share/ha/README.md; the rest is for speed, and for two that boot from one tree.
FURNISH = f"""\
set -e
systemd-sysusers - <<'END'
u pdudaemon {USER} "PDU daemon" /var/lib/pdudaemon /usr/sbin/nologin
END
rm -f /etc/hostname /etc/machine-id
touch /etc/machine-id
systemctl enable corosync pacemaker
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-networkd
"""


def tree() -> Path:
    """Return the tree without the packages under test; build it if need be."""
    HOME.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    stamp = HOME / "recipe"
    if not stamp.exists() or stamp.read_text() != recipe:
        stamp.unlink(missing_ok=True)
        begin = time.monotonic()
        print(f"building the Debian for clusters in {HOME} ...", file=sys.stderr, flush=True)
        _build(HOME / "tree")
        stamp.write_text(recipe)
        print(f"... built in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return HOME / "tree"


def layered(work: Path, debs: list[Path]) -> Path:
    """Return the tree with packages in it, as a mount in the test's own mount namespace."""
    upper, scratch, merged = (work / name for name in ("upper", "scratch", "merged"))
    for each in (upper, scratch, merged):
        each.mkdir()
    layers = f"lowerdir={tree()},upperdir={upper},workdir={scratch}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, merged], check=True)
    for deb in debs:
        shutil.copy(deb, merged / "var" / "cache")
    inside(merged, "dpkg --install /var/cache/*.deb; systemctl disable pdudaemon; rm /var/cache/*.deb")
    return merged


def inside(root: Path, script: str) -> None:
    """Run a script in a tree."""
    done = subprocess.run(
        ["chroot", root, "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        raise SystemExit(f"{root}: {done.stdout[-2000:]}")


def _build(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    sources = next((str(path) for path in SOURCES if path.exists()), "")
    command = [program("mmdebstrap", "mmdebstrap"), "--quiet", "--mode=root", "--variant=apt"]
    command += ["--aptopt=Acquire::Check-Valid-Until false"]  # for sources that stand still at a date
    command += [f"--include={','.join(INCLUDED.split())}", "bookworm", str(root), sources]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (root / "etc" / "hosts").write_text(HOSTS)
    inside(root, FURNISH)


def disk(work: Path) -> Path:
    """Return a file system of its own in a file, mounted: the store of both nodes."""
    image, point = work / "disk.img", work / "disk"
    subprocess.run(["truncate", "--size=256M", image], check=True)
    subprocess.run([program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", image], check=True)
    point.mkdir()
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    shutil.rmtree(point / "lost+found")
    shutil.chown(point, USER, USER)
    point.chmod(0o750)
    return point


def unmount(work: Path) -> None:
    """Take what is mounted below a folder away."""
    for point in ("disk", "merged"):
        subprocess.run(["umount", "--lazy", work / point], check=True)
