# SPDX-License-Identifier: MIT
"""The Debian that the machines of `tests.vm.machine` boot: a tree for containers, a disk for virtual machines.

It is of any release, from this machine's own package sources with that release's name in them, and has everything that
a test inside may want, since inside there is no network: Debian's kernel, systemd, the Python packages that the daemon
uses, and what our packages are built with. It is built at first use, and again when this file or what is needed to
build has changed; nothing that a machine does changes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
FOLDER = Path(os.environ.get("PDUDAEMON_VM") or Path.home() / ".cache" / "pdudaemon-vm")
SOURCES = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]

SYSTEM = "systemd systemd-sysv udev kmod dbus login passwd adduser linux-image-amd64 initramfs-tools netbase iproute2"
TOOLS = "lintian procps curl openssh-client openssh-server ipmitool openipmi snmp usbutils libnss-systemd"
PYTHON = "python3 python3-pytest python3-serial python3-hid python3-usb python3-pexpect python3-pysnmp4"
PYTHON += " python3-cryptography python3-yaml python3-jwt python3-setuptools python3-pkg-resources"
CONTROL = Path(__file__).parent.parent.parent / "debian" / "control"

# What pysnmp 4.4.12 wants of a Python that has no `imp` any more, as debian/control recommends it; and what the former
# package of that release depends on besides.
OF_RELEASE = {"trixie": "python3-zombie-imp python3-pymodbus"}

# Debian's own packages of a pdudaemon, to upgrade from, lie in a folder; what they depend on is installed.
FORMER = "/opt/former"
PYTHON += " python3-aiohttp python3-paramiko python3-requests python3-systemd"

# What the kernel needs to reach its root; without the other 20 MB of modules an emulated CPU is much quicker to boot.
INITRD_MODULES = "virtio_pci virtio_blk ext4"

# Runs what the host has left in its folder. The machine ends with it.
JOB = """\
[Unit]
Description=the job that the host has given this machine
After=network.target

[Service]
Environment=HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
ExecStartPre=sh -c 'mountpoint -q /mnt/host || mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /mnt/host'
ExecStart=sh -c 'sh /mnt/host/job >/mnt/host/output 2>&1; echo $$? >/mnt/host/code'
ExecStopPost=systemctl --no-block poweroff
TimeoutStartSec=infinity
"""


def base(release: str = HERE, *, disk: bool = False) -> Path:
    """Return the folder of a release, which has ``tree``, ``kernel``, ``initrd`` and, if asked for, ``disk``.

    They are built if need be.
    """
    folder = FOLDER / release
    folder.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(Path(__file__).read_bytes() + " ".join(_build_depends()).encode()).hexdigest()
    stamp = folder / "recipe"
    with _alone(folder):
        if not stamp.exists() or stamp.read_text() != recipe:
            stamp.unlink(missing_ok=True)
            begin = time.monotonic()
            print(f"building the Debian {release} for machines in {folder} ...", file=sys.stderr, flush=True)
            _build(release, folder)
            stamp.write_text(recipe)
            print(f"... built in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        if disk and not (folder / "disk").exists():
            _format(folder)
    return folder


def program(name: str, package: str) -> str:
    """Return the path of a program. Raises: SystemExit, naming the Debian package, if it is not installed."""
    path = shutil.which(name)
    if not path:
        raise SystemExit(f"{name} is not installed: it is in the Debian package {package}")
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(release: str, folder: Path) -> None:
    if os.geteuid() != 0:
        raise SystemExit(f"only root can build the Debian for machines (in {folder})")
    tree, disk = folder / "tree", folder / "disk"
    shutil.rmtree(tree, ignore_errors=True)
    disk.unlink(missing_ok=True)
    command = [program("mmdebstrap", "mmdebstrap"), "--quiet", "--mode=root", "--variant=apt"]
    command += ['--aptopt=Acquire::Check-Valid-Until "false"']  # for sources that stand still at a date
    packages = f"{SYSTEM} {TOOLS} {PYTHON} {OF_RELEASE.get(release, '')}".split() + _build_depends()
    command += [f"--include={','.join(packages)}"]
    command += [f"--essential-hook={_write('etc/initramfs-tools/conf.d/small', 'MODULES=list')}"]
    command += [f"--essential-hook={_write('etc/initramfs-tools/modules', *INITRD_MODULES.split())}"]
    download = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download -qq pdudaemon pdudaemon-client'
    command += [f'--customize-hook=mkdir -p "$1{FORMER}" && cd "$1{FORMER}" && {download}']
    subprocess.run([*command, release, tree, sources(release, folder)], check=True, stdin=subprocess.DEVNULL)
    _furnish(tree)
    for name, found in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copy(next((tree / "boot").glob(found)), folder / name)


def _format(folder: Path) -> None:
    """Make a disk of a tree."""
    disk, half = folder / "disk", folder / "disk.new"
    half.unlink(missing_ok=True)
    subprocess.run(["truncate", "--size=4G", half], check=True)
    subprocess.run([program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-d", folder / "tree", half], check=True)
    half.rename(disk)


def sources(release: str, folder: Path) -> Path:
    """Return a file with this machine's sources of packages, of another release. sid has no updates of its own."""
    found = next((path for path in SOURCES if path.exists()), None)
    if found is None:
        raise SystemExit(f"there are no sources of packages for Debian {release}: {SOURCES[0]}")
    text = found.read_text()
    if release == "sid":
        entries = text.split("\n\n") if found.suffix == ".sources" else text.splitlines()
        text = "\n\n".join(entry for entry in entries if "-security" not in entry)
        text = re.sub(rf" {HERE}-updates\b", "", text)
    mine = folder / f"debian{found.suffix}"
    mine.write_text(re.sub(rf"\b{HERE}\b", release, text))
    return mine


def _build_depends() -> list[str]:
    """Return the packages that ours are built with, whatever their versions."""
    found = re.search(r"^Build-Depends:((?:.*\n)(?: .*\n)*)", CONTROL.read_text(), re.MULTILINE)
    words = found[1].split(",") if found else []
    return sorted(word.split()[0] for word in words if word.strip())


def _write(path: str, *lines: str) -> str:
    """Return a shell command for mmdebstrap that writes a file of the tree."""
    words = " ".join(f"'{line}'" for line in lines)
    return f'mkdir -p "$1/{os.path.dirname(path)}" && printf "%s\\n" {words} >"$1/{path}"'


def _furnish(tree: Path) -> None:
    """Make it a machine: a name, a disk, and the job."""
    etc = tree / "etc"
    (etc / "hostname").write_text("machine\n")
    (etc / "hosts").write_text("127.0.0.1 localhost machine\n::1 localhost\n")
    (etc / "fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (etc / "machine-id").write_text(f"{1:032x}\n")  # none would mean that each boot is the first one
    (tree / "mnt" / "host").mkdir()
    (etc / "systemd" / "system" / "job.service").write_text(JOB)
    wants = etc / "systemd" / "system" / "default.target.wants"
    wants.mkdir(exist_ok=True)
    for unit in ("ssh", "openipmi", "ipmievd"):  # a test starts what it wants of them
        (etc / "systemd" / "system" / f"{unit}.service").unlink(missing_ok=True)
        (etc / "systemd" / "system" / f"{unit}.service").symlink_to("/dev/null")
    (wants / "job.service").symlink_to("../job.service")


if __name__ == "__main__":
    print(base())
