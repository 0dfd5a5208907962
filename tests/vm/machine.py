# SPDX-License-Identifier: MIT
"""Boot a throw-away Debian with systemd, run a command in it, and pass on its output and exit code.

    python -m tests.vm.machine python3 -m pytest tests/vm/test_usb.py                  (which is ``make test-usb``)
    python -m tests.vm.machine --container --deb PACKAGE.deb systemctl status pdudaemon
    python -m tests.vm.machine --release trixie --idle --fetch dist tests/vm/build           (``make deb RELEASE=trixie``)

The command runs as root in a copy of the project, ``/srv/pdudaemon``; Debian packages are installed before, without a
network, so all that they depend on is in the base (`tests.vm.base`) or a further ``--deb``. It sees loopback only.

A virtual machine has Debian's own kernel, which is what USB devices are made with, and an emulated CPU: it needs no
KVM, boots in about 20 s and is ten times slower than its host; the tests of USB devices take two to three minutes in
all. A container (``--container``) boots in a second and has the kernel of its host; with ``--idle`` nothing is booted in
it, so that it may be of a release whose systemd cannot live with that kernel's control groups.

On Debian, as root: ``apt-get install --no-install-recommends mmdebstrap e2fsprogs qemu-system-x86 systemd-container``
(the last for containers, qemu for virtual machines). The base is built at first use, in about a minute, from the
sources of apt of this machine, and takes 2 GB in ``~/.cache/pdudaemon-vm`` (``PDUDAEMON_VM`` names another folder).
A virtual machine takes 1 GB of memory, and what it writes goes to ``/var/tmp`` until it ends.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.vm import gpiosim
from tests.vm.base import HERE, base, program

ROOT = Path(__file__).parent.parent.parent
PROJECT = ["debian", "pdudaemon", "pduclient", "share", "tests", "setup.cfg", "pyproject.toml", "Makefile"]
PROJECT += ["README.md", "CHANGELOG.md", "LICENSE", "MANIFEST.in"]
CGROUPS = Path("/sys/fs/cgroup")
SECONDS = 1800.0
MEMORY = 1024
STOP_BOUND = 30.0

# On a machine whose PID 1 is not systemd: control groups of its own, where that of the container finds nobody else.
APART = """\
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup/pids; do
    if [ -e $tree/cgroup.procs ]; then mkdir $tree/$0 && echo $$ >$tree/$0/cgroup.procs; fi
done
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
exec "$@"
"""

UNBOOTED = "sh /mnt/host/job >/mnt/host/output 2>&1; echo $? >/mnt/host/code"
LEGACY = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"  # systemd 256 and 257 leave control groups of version 1 otherwise

JOB = """\
set -e
mkdir /srv/pdudaemon /srv/debs
tar -xf /mnt/host/project.tar -C /srv/pdudaemon
if ls /mnt/host/*.deb >/dev/null 2>&1; then
    cp /mnt/host/*.deb /srv/debs
    apt-get install -qq --no-install-recommends /srv/debs/*.deb >/srv/debs/log 2>&1 || { cat /srv/debs/log; exit 1; }
fi
cd /srv/pdudaemon
"""


@dataclass
class Machine:
    """What is to be booted: of which release, with what installed, and how long it may take, in seconds.

    A virtual machine has so much ``memory``, in MiB.

    It finds what is in the folder ``bring`` in ``/mnt/host/in``; ``fetch`` is where to what the job leaves in
    ``/mnt/host/out`` goes. With ``online`` it sees the network of its host, with ``gpio_sim`` it has that module.
    """

    release: str = HERE
    container: bool = False
    idle: bool = False
    online: bool = False
    gpio_sim: bool = False
    debs: list[Path] = field(default_factory=list)
    bring: Path | None = None
    fetch: Path | None = None
    seconds: float = SECONDS
    memory: int = MEMORY

    def run(self, command: list[str]) -> int:
        """Boot, run a command, print what it prints as it comes, and return its exit code.

        Raises: SystemExit if the machine cannot run here, or has not ended the job within its time.
        """
        folder = base(self.release, disk=not (self.container or self.idle))
        with tempfile.TemporaryDirectory(prefix="pdudaemon-vm-") as name:
            work = Path(name)
            host = work / "host"
            (host / "out").mkdir(parents=True)
            _pack(host, command, self.debs)
            if self.bring is not None:
                shutil.copytree(self.bring, host / "in")
            if self.gpio_sim:
                shutil.copy(gpiosim.module(), host / gpiosim.FROM_HOST.name)
            with (work / "console").open("wb") as console, _started(self, folder, work, console) as machine:
                _follow(host, machine, time.monotonic() + self.seconds)
            if code := (host / "code").read_text():
                if self.fetch is not None:
                    shutil.copytree(host / "out", self.fetch, dirs_exist_ok=True)
                return int(code)
            said = (work / "console").read_text(errors="replace").splitlines()[-40:]
            raise SystemExit("\n".join(["the machine did not end its job; its console said:", *said]))


def _pack(host: Path, command: list[str], debs: list[Path]) -> None:
    """Put into the folder that the machine sees: the project, the packages, the job."""
    with tarfile.open(host / "project.tar", "w") as tar:
        for name in PROJECT:
            tar.add(ROOT / name, name, filter=lambda info: None if "__pycache__" in info.name else _of_root(info))
    for deb in debs:
        shutil.copy(deb, host)
    (host / "job").write_text(JOB + shlex.join(command) + "\n")
    for name in ("output", "code"):
        (host / name).touch()


def _of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mode |= 0o755 if info.isdir() else 0o644
    return info


@contextmanager
def _started(what: Machine, folder: Path, work: Path, console: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """Start a machine; at the end of the block see it end, or kill it."""
    arguments = _container(what, folder, work) if what.container or what.idle else _virtual(what, folder, work)
    machine = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
    try:
        yield machine
    finally:
        machine.terminate()
        try:
            machine.wait(STOP_BOUND)
        except subprocess.TimeoutExpired:
            machine.kill()
            machine.wait()
        for group in [*CGROUPS.glob(work.name), *CGROUPS.glob(f"*/{work.name}")]:
            subprocess.run(["find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], check=True)


def _virtual(what: Machine, folder: Path, work: Path) -> list[str]:
    qemu = program("qemu-system-x86_64", "qemu-system-x86")
    kernel = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off"
    return [
        *(qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", f"{what.memory}"),
        *("-kernel", f"{folder / 'kernel'}", "-initrd", f"{folder / 'initrd'}", "-append", kernel),
        *("-drive", f"file={folder / 'disk'},if=virtio,format=raw,snapshot=on,cache=unsafe"),
        *("-device", "virtio-rng-pci"),
        *("-virtfs", f"local,path={work / 'host'},mount_tag=host,security_model=none"),
        *("-serial", "stdio"),
    ]


def _container(what: Machine, folder: Path, work: Path) -> list[str]:
    nspawn = program("systemd-nspawn", "systemd-container")
    options = ["--quiet", f"--directory={folder / 'tree'}", "--volatile=overlay", f"--machine=pdudaemon-{os.getpid()}"]
    options += [f"--bind={work / 'host'}:/mnt/host", "--console=pipe", "--timezone=off"]
    options += ["--bind-ro=/etc/resolv.conf"] if what.online else ["--private-network"]
    if what.idle:
        options += ["--as-pid2", "--setenv=LC_ALL=C.UTF-8", "--setenv=HOME=/root", "sh", "-c", UNBOOTED]
    else:
        options += ["--boot", *([] if (CGROUPS / "cgroup.controllers").exists() else [LEGACY])]
    if Path("/run/systemd/system").exists():
        return [nspawn, *options]
    apart = ["unshare", "--mount", "--propagation=private", "sh", "-c", APART, work.name]
    return [*apart, nspawn, "--register=no", "--keep-unit", *options]


def _follow(host: Path, machine: subprocess.Popen[bytes], until: float) -> None:
    """Print what the job says until it has ended, or the machine has, or the time is over."""
    with (host / "output").open("rb") as output:
        over = False
        while not over:
            over = bool((host / "code").read_text()) or time.monotonic() > until
            with suppress(subprocess.TimeoutExpired):
                machine.wait(0 if over else 0.2)
                over = True
            sys.stdout.buffer.write(output.read())
            sys.stdout.flush()


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.machine", description=(__doc__ or "").splitlines()[0])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--container", action="store_true", help="a container instead of a virtual machine")
    kind.add_argument("--idle", action="store_true", help="a container in which nothing is booted")
    parser.add_argument(
        "--gpio-sim", action="store_true", help="bring the module gpio-sim of its kernel (tests.vm.gpiosim)"
    )
    parser.add_argument("--release", default=HERE, help="which Debian, such as trixie (%(default)s)")
    parser.add_argument("--online", action="store_true", help="a container with the network of its host")
    parser.add_argument("--deb", type=Path, action="append", default=[], help="a Debian package to install before")
    parser.add_argument("--bring", type=Path, help="a folder that the command finds as /mnt/host/in")
    parser.add_argument("--fetch", type=Path, help="a folder for what the command leaves in /mnt/host/out")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long it may take in all (%(default)s)")
    parser.add_argument("--memory", type=int, default=MEMORY, help="of a virtual machine, in MiB (%(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run")
    options = vars(parser.parse_args())
    if options["gpio_sim"] and options["release"] != HERE:
        parser.error(f"--gpio-sim is built for the kernel of {HERE}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the machine is ended on the way out
    options["debs"] = options.pop("deb")
    command = options.pop("command")
    return Machine(**options).run(command)


if __name__ == "__main__":
    sys.exit(main())
