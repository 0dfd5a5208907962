# SPDX-License-Identifier: MIT
"""Slurm of Debian: a controller, and the machines it manages, whose slurmd runs while their power is on."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.process import eventually

_CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}({address})
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ReturnToService=2
Include {included}
NodeName=node[1-2] NodeHostname={host} NodeAddr={address} Port=[17001-17002] CPUs=1
PartitionName=main Nodes=ALL Default=YES State=UP
"""


class Cluster:
    """A controller, started by `control`, and two machines, each on while ``power`` says so."""

    def __init__(self, folder: Path, address: str, included: Path, power: Mapping[str, Callable[[], bool]]) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._power = power
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._machines = threading.Thread(target=self._run)
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        words = {"address": address, "user": getpass.getuser(), "folder": folder, "included": included}
        self.conf.write_text(_CONFIGURATION.format(host=socket.gethostname(), **words))

    def control(self, verb: str) -> None:
        """Start the controller, and the machines that are on; return when they have come."""
        self._start("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
        eventually(lambda: self.ask("ping").returncode == 0, 60)
        self._machines.start()
        eventually(lambda: all(self.state(name) == "IDLE" for name, on in self._power.items() if on()), 60)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask scontrol."""
        command = ["scontrol", *words]
        env = {"SLURM_CONF": str(self.conf), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

    def state(self, name: str) -> str:
        """Return the state of a node in Slurm's words, as IDLE+POWERED_DOWN."""
        (state,) = [word for word in self.ask("show", "node", name).stdout.split() if word.startswith("State=")]
        return state.removeprefix("State=")

    def _run(self) -> None:
        while not self._closing.wait(0.1):
            for name, on in self._power.items():
                if on() and name not in self._running:
                    self._start(name, "slurmd", "-D", "-f", str(self.conf), "-N", name, "-b")  # it has just booted
                elif not on() and name in self._running:
                    self._end(name)

    def _start(self, name: str, program: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            path = shutil.which(program, path="/usr/sbin:/usr/bin")
            self._running[name] = subprocess.Popen([path or program, *words], stdout=log, stderr=log, cwd=self.folder)

    def _end(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def close(self) -> None:
        """End all of it."""
        self._closing.set()
        if self._machines.ident is not None:
            self._machines.join()
        for name in [*self._running]:
            self._end(name)


@contextlib.contextmanager
def slurm(folder: Path, address: str, included: Path, power: Mapping[str, Callable[[], bool]]) -> Iterator[Cluster]:
    """Make a cluster on an address of loopback, or skip the test."""
    for program in ("slurmctld", "slurmd", "scontrol", "srun"):
        if shutil.which(program, path="/usr/sbin:/usr/bin") is None:
            pytest.skip(f"{program} is missing (Debian: slurmctld slurmd slurm-client)")
    made = Cluster(folder, address, included, power)
    try:
        yield made
    finally:
        made.close()
