# SPDX-License-Identifier: MIT
"""The servers that are compared, each a process of its own on a free loopback port, killed by its own pid at the end.

The released pdudaemon is a black box: installed from the package index into an environment of its own, given a
configuration and asked. It speaks one protocol a process and answers when the job is done.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.ports import free_ports
from tests.process import ROOT, Daemon, install_plugin

RELEASE = "1.1.1"
START_BOUND = 60.0

# A driver by the contract that both daemons share, for a device that takes no time.
INSTANT = """
from pdudaemon.drivers.driver import PDUDriver

class Instant(PDUDriver):
    def __init__(self, hostname, settings):
        super().__init__()

    @classmethod
    def accepts(cls, drivername):
        return drivername == "instant"

    def port_interaction(self, command, port_number):
        pass
"""


class Crashed(Exception):
    """A server did not start, or was gone before it was stopped."""


@dataclass(frozen=True)
class Server:
    """A running server; ``start`` is the time from exec to its first answer, in seconds."""

    pid: int
    port: int
    start: float

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=load.PATIENCE)

    @property
    def resident(self) -> float:
        """Memory in use, in MiB."""
        return int(Path(f"/proc/{self.pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def cpu(self) -> float:
        """CPU time used so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare(protocol: str) -> AbstractContextManager[Server]:
    """Run a server that does nothing."""
    (port,) = free_ports()
    return running([sys.executable, "-m", "tests.bench.bare", protocol, str(port)], port, protocol)


def ours(folder: Path, pdus: dict[str, Any], **settings: Any) -> AbstractContextManager[Server]:
    """Run our daemon as a user would, for both protocols on one port."""
    folder.mkdir()
    (port,) = free_ports()
    daemon = Daemon(folder, pdus, logging_level="INFO", port=port, **settings)
    install_plugin(daemon.plugins, "instantdriver", INSTANT, {"instant": "Instant"})
    return running(daemon.command(f"--logfile={daemon.log}"), port, "http", daemon.plugins)


def released(folder: Path, pdus: dict[str, Any], protocol: str) -> AbstractContextManager[Server | None]:
    """Run the released daemon; None where it cannot be installed."""
    if (program := released_program()) is None:
        return nullcontext()
    folder.mkdir()
    install_plugin(folder, "instantdriver", INSTANT, {"instant": "Instant"})
    (port,) = free_ports()
    section = {"hostname": "127.0.0.1", "port": port, "listener": protocol, "logging_level": "INFO"}
    (folder / "conf").write_text(json.dumps({"daemon": section, "pdus": pdus}))
    return running([str(program), f"--conf={folder / 'conf'}", f"--logfile={folder / 'log'}"], port, protocol, folder)


@functools.cache
def released_program() -> Path | None:
    """Install the released daemon unless it is there; print why if that cannot be done."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pdudaemon-bench"
    place = cache / f"pdudaemon-{RELEASE}"
    program = place / "bin" / "pdudaemon"
    if program.exists():
        return program
    print(f"installing pdudaemon {RELEASE} into {place}", flush=True)
    make = [sys.executable, "-m", "venv", "--clear", str(place)]
    for step in (make, [str(place / "bin" / "pip"), "install", "--quiet", f"pdudaemon=={RELEASE}"]):
        try:
            subprocess.run(step, capture_output=True, text=True, timeout=300, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"it cannot be installed, going on without it: {error}\n{error.stderr!s}")
            return None
    return program


@contextmanager
def process(command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, and kill it at the end. Raises: Crashed, if it has ended before."""
    begun = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield begun
        if begun.poll() is not None:
            raise Crashed(f"{command} ended by itself with {begun.returncode}")
    finally:
        begun.kill()
        begun.wait()


@contextmanager
def running(command: Sequence[str], port: int, protocol: str, plugins: Path = ROOT) -> Iterator[Server]:
    """Run a server and wait until it answers a request that switches nothing."""
    text = load.http_text("nobody") if protocol == "http" else load.tcp_text("nobody")
    begin = time.monotonic()
    with process(command, PYTHONPATH=str(plugins)) as begun:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=START_BOUND) as connection:
                    load.ask(connection, text)
                    break
            except ConnectionError:
                if begun.poll() is not None or time.monotonic() > begin + START_BOUND:
                    raise Crashed(f"{command} did not start") from None
                time.sleep(0.002)
        yield Server(begun.pid, port, time.monotonic() - begin)
