# SPDX-License-Identifier: MIT
"""libvirt's test driver, kept by a libvirtd of its own, which runs without any other driver.

The driver forgets everything when nobody is connected, so somebody always is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.process import eventually

DOMAIN = "test"
"""The one domain that there is; it runs at first."""


class Hypervisor(NamedTuple):
    """A running libvirtd."""

    uri: str

    def virsh(self, *words: str) -> str:
        """Do something behind the daemon's back; return what was printed."""
        command = ["virsh", "--quiet", "--connect", self.uri, *words]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=True)
        return done.stdout.strip()

    @property
    def state(self) -> str:
        return self.virsh("domstate", DOMAIN)


@contextmanager
def libvirtd(folder: Path) -> Iterator[Hypervisor]:
    """Run libvirtd. The folder's path must be short: it has a socket."""
    program = shutil.which("libvirtd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or shutil.which("virsh") is None:
        pytest.skip("libvirtd or virsh is not installed (Debian: libvirt-daemon, libvirt-clients)")
    if os.geteuid() != 0:
        pytest.skip("only root can run a libvirtd for the system")
    (folder / "no-drivers").mkdir(parents=True)
    socket = folder / "libvirt-sock"
    hypervisor = Hypervisor(f"test+unix:///default?socket={socket}")
    lines = ["listen_tls = 0", f'unix_sock_dir = "{folder}"', 'auth_unix_rw = "none"', 'auth_unix_ro = "none"']
    (folder / "conf").write_text("\n".join([*lines, f'log_outputs = "2:file:{folder}/log"', ""]))
    command = [program, "-f", str(folder / "conf"), "-p", str(folder / "pid")]
    environment = {**os.environ, "LIBVIRT_DRIVER_DIR": str(folder / "no-drivers")}
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)
    try:
        eventually(lambda: socket.exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "printed").read_text()
        guest = ["virsh", "--quiet", "--connect", hypervisor.uri]
        with subprocess.Popen(guest, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as connected:
            assert connected.stdin is not None and connected.stdout is not None
            connected.stdin.write("hostname\n")
            connected.stdin.flush()
            assert connected.stdout.readline()
            yield hypervisor
            connected.stdin.close()
            connected.wait(60)
    finally:
        process.kill()
        process.wait()
