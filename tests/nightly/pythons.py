# SPDX-License-Identifier: MIT
"""The whole suite on each other Python that setup.cfg names: ``make nightly PARTS=pythons``.

Each runs ``make test PYTHON=...`` in a clone of its own, with the pinned releases. An interpreter is one of this machine
(in ``PATH``, or of pyenv). One that is not here is the `python3` of the Debian whose default it is, in a tree that
mmdebstrap makes, once, as root, in ``~/.cache/pdudaemon-vm``; the tests of programs that are not in it are skipped.
What is to be had neither way is told, and is no failure.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.nightly.__main__ import LEFT_OUT, ROOT
from tests.vm import base

HERE = "{}.{}".format(*sys.version_info)
OF_DEBIAN = {"3.13": "trixie", "3.14": "sid"}  # the release whose python3 it is
PACKAGES = "python3,python3-venv,ca-certificates,make,git,procps,curl,gcc,libc6-dev,man-db,mandoc,openssl,passwd"
PACKAGES += ",lighttpd,lighttpd-mod-openssl,ser2net,openssh-client,openssh-server,inetutils-telnetd,snmpd,snmp,zsh,fish"
PACKAGES += ",ipmitool,openipmi,powerman,nut-server,owserver,mosquitto,nginx-light,haproxy,shellcheck,systemd,mount"

# In a mount and a process namespace of its own: with $0, the tree, and $1, the clone, at /srv/pdudaemon in it. The
# network, and what leads to package indexes, are those of this machine.
INSIDE = """\
set -e
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mkdir -p "$0/srv/pdudaemon" "$0/etc/ssl/certs"
mount --bind "$1" "$0/srv/pdudaemon"
mount --bind /etc/ssl/certs "$0/etc/ssl/certs"
for file in /etc/pip.conf /etc/hosts /etc/resolv.conf; do if [ -e $file ]; then cp -L $file "$0$file"; fi; done
exec chroot "$0" env HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin make -C /srv/pdudaemon test "PYTHON=$2"
"""


def named() -> list[str]:
    """Return the versions that setup.cfg names, such as 3.12."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return re.findall(r":: (3\.\d+)$", setup["metadata"]["classifiers"], re.MULTILINE)


def here(version: str) -> str:
    """Return the path of an interpreter of this machine, or a blank. A name that pyenv only pretends to have is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)]
    for place in map(str, filter(None, places)):
        code = "import sys, venv; print('{}.{}'.format(*sys.version_info))"
        said = subprocess.run([place, "-c", code], capture_output=True, text=True)
        if said.stdout.strip() == version:
            return place
    return ""


def tree(version: str) -> Path | None:
    """Return the tree of a Debian with an interpreter, made if need be, or None where that cannot be."""
    release = OF_DEBIAN.get(version)
    maker = shutil.which("mmdebstrap")
    if (
        release is None
        or maker is None
        or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode
    ):
        return None
    folder = base.FOLDER / f"python{version}"
    done, made = folder / "done", folder / "tree"
    if not done.exists() or done.read_text() != PACKAGES:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        options = ["--quiet", "--mode=root", "--variant=apt", '--aptopt=Acquire::Check-Valid-Until "false"']
        sources = base.sources(release, folder)
        subprocess.run([maker, *options, f"--include={PACKAGES}", release, made, sources], check=True)
        done.write_text(PACKAGES)
    return made


def tested(version: str) -> str:
    """Run the suite on a version, and return what came of it in a word."""
    with tempfile.TemporaryDirectory(prefix=f"pdudaemon-python{version}-", dir="/var/tmp") as clone:
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        if program := here(version):
            command = ["make", "-C", clone, "test", f"PYTHON={program}"]
        elif (of_debian := tree(version)) is not None:
            alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
            command = [*alone, "sh", "-c", INSIDE, str(of_debian), clone, f"python{version}"]
        else:
            return "is not to be had here"
        print(f"{version}: {shlex.join(command[-6:])}", flush=True)
        return "FAILED" if subprocess.run(command, stdin=subprocess.DEVNULL).returncode else "passed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.nightly.pythons", description=(__doc__ or "").splitlines()[0]
    )
    others = [version for version in named() if version != HERE]
    parser.add_argument("versions", nargs="*", default=others, metavar="VERSION", help=f"such as {others[0]}")
    ended = {version: tested(version) for version in parser.parse_args(arguments).versions}
    for version, result in ended.items():
        print(f"* Python {version}: {result}")
    if "FAILED" in ended.values():
        return 1
    return 0 if "passed" in ended.values() else LEFT_OUT


if __name__ == "__main__":
    sys.exit(main())
