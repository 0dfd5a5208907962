# SPDX-License-Identifier: MIT
"""``make test-peers``: install real peers that are too big for every test run, once, and test against them.

They live in environments of their own below ``~/.cache/pdudaemon-peers`` (about 1 GB); npm, node, Slurm (slurmctld, slurmd)
and Ruby (ruby-faraday) are Debian's. The
real ``az`` is another 733 MB for four command lines: it takes part if ``AZ`` names its folder of programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

PEERS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pdudaemon-peers"
HOME_ASSISTANT = (
    "homeassistant==2024.3.3",
    "josepy<2",  # a later one makes every request fail
    # What it would install at its first start, which must not need a network.
    "home-assistant-frontend==20240307.0",
    "PyQRCode==1.2.1",
    "SQLAlchemy==2.0.27",
    "fnv-hash-fast==0.5.0",
    "janus==1.0.0",
    "paho-mqtt==1.6.1",
    "pillow==10.2.0",
    "psutil-home-assistant==0.0.1",
    "pyotp==2.8.0",
    "securetar==2024.2.1",
)
MOTO = ("moto[ec2,server]==5.2.5", "awscli")
SUSHY = ("sushy-tools==2.2.0",)
LABGRID = ("labgrid==26.0.1",)
ANSIBLE = ("ansible-core==2.19.4",)
KASA = "tplink-smarthome-simulator@5.0.1"
FORMER = "pdudaemon==1.1.1"
PYTHON_KASA = ("python-kasa==0.12.0",)


def main(arguments: list[str]) -> int:
    """Return the exit code of pytest."""
    found = {
        "ANSIBLE": environment("ansible", ANSIBLE),
        "HOMEASSISTANT": environment("home-assistant", HOME_ASSISTANT) / "hass",
        "KASA_PROGRAM": environment("python-kasa", PYTHON_KASA) / "kasa",
        "KASA_SIMULATOR": packages("kasa", KASA),
        "LABGRID": environment("labgrid", LABGRID),
        "MOTO": environment("moto", MOTO),
        "SUSHY": environment("sushy", SUSHY) / "sushy-emulator",
    }
    here = Path(__file__).parent
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environ = {**os.environ, **{name: str(path) for name, path in found.items()}}
    failed = subprocess.call([*tests, str(here), *arguments], env=environ)
    if arguments:
        return failed
    # The client that CI has is Debian's, of an older release.
    theirs = [
        str(here.parent / "client" / "test_former_client.py"),
        str(here.parent / "guides"),
        "-k",
        "former or theirs",
    ]
    return subprocess.call([*tests, *theirs], env={**environ, "FORMER_CLIENT": str(former_client())}) or failed


def former_client() -> Path:
    """Return the client of the existing daemon's newest release, which only its source archive has; it is run, never read."""
    folder = PEERS / "former-client"
    client = folder / FORMER.replace("==", "-") / "pduclient"
    if not client.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--no-binary", "pdudaemon", "--dest", folder, FORMER], check=True)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extract(str(client.relative_to(folder)), folder, filter="data")
        client.chmod(0o755)
    return client


def environment(name: str, wanted: tuple[str, ...]) -> Path:
    """Return the folder of programs of an environment with some Python packages, made unless it is there."""
    folder = PEERS / name
    done = folder / "installed"
    if not done.exists() or done.read_text() != repr(wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True)
        done.write_text(repr(wanted))
    return folder / "bin"


def packages(name: str, wanted: str) -> Path:
    """Return a folder with a package of npm, made unless it is there."""
    folder = PEERS / name
    done = folder / "installed"
    if not done.exists() or done.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(["npm", "install", "--prefix", folder, *quietly, wanted], check=True)
        done.write_text(wanted)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
