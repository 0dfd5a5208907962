# SPDX-License-Identifier: MIT
"""sshd with a host key of its own, by whom a user's key or password is accepted."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.telnet import Inetd

SSHD = "/usr/sbin/sshd"
OLD_ALGORITHMS = (
    "KexAlgorithms diffie-hellman-group14-sha1",
    "HostKeyAlgorithms ssh-rsa",
    "Ciphers aes128-cbc",
    "MACs hmac-sha1",
)


class Server:
    """``user`` may log in with the key in the file ``key``; further lines of the configuration can be given."""

    def __init__(self, folder: Path, inetd: Inetd, key: Path) -> None:
        self.folder = folder
        self.port = inetd.port
        self.user = getpass.getuser()
        self.key = key

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text()


@contextmanager
def sshd(folder: Path, *lines: str, host_key: str = "ed25519") -> Iterator[Server]:
    """Run sshd; ``lines`` come first in its configuration, hence count."""
    if not Path(SSHD).exists() or shutil.which("ssh") is None:
        pytest.skip("sshd or ssh is not installed (Debian: openssh-server, openssh-client)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    key = keygen(folder / "key")
    (folder / "authorized_keys").write_text((folder / "key.pub").read_text())
    configuration = [
        *lines,
        f"SetEnv HOME={folder}",  # where no shell finds what its user has it do at every start
        "KexAlgorithms curve25519-sha256",  # of those that both have by default, the one that takes the least time
        f"HostKey {keygen(folder / 'host', host_key)}",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication yes",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
    ]
    (folder / "sshd_config").write_text("\n".join(configuration) + "\n")
    with Inetd(folder / "sshd.log", SSHD, "-i", "-e", "-f", str(folder / "sshd_config")) as inetd:
        yield Server(folder, inetd, key)


def keygen(path: Path, kind: str = "ed25519") -> Path:
    """Make a key, unless it is there."""
    if not path.exists():
        size = ["-b", "2048"] if kind == "rsa" else []
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-f", path], check=True)
    return path
