# SPDX-License-Identifier: MIT
"""The servers that are compared, each a process of its own on a free loopback port, killed by its own pid at the end.

The released pdudaemon is a black box: installed from the package index into an environment of its own, given a
configuration and asked. It speaks one protocol a process and answers when the job is done. "Before" is an earlier
commit of ours, run by the same interpreter. Both are put into the user's cache once.
"""

from __future__ import annotations

import functools
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.support.ports import free_ports
from tests.support.process import ROOT, Daemon, install_plugin

RELEASE = "1.1.1"
BASE = "96bed7f"
START_BOUND = 180.0

DEVICES = {"instant": "Instant", "stamp": "Stamp", "meter": "Meter", "gate": "Gate"}
"""The drivers of the plugin: configuration word -> class."""


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


def ours(
    folder: Path,
    pdus: dict[str, Any],
    *,
    source: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    sites: Mapping[str, Server] | None = None,
    **settings: Any,
) -> AbstractContextManager[Server]:
    """Run our daemon as a user would, for both protocols on one port.

    What the folder has of an earlier run is kept. ``under`` is the beginning of a command that runs another one. With
    ``sites`` it is a front of other servers.
    """
    folder.mkdir(exist_ok=True)
    (port,) = free_ports()
    daemon = Daemon(folder, pdus, **{"logging_level": "INFO", "port": port, **settings})
    if sites is not None:
        urls = {name: {"url": f"http://127.0.0.1:{site.port}"} for name, site in sites.items()}
        daemon.configure({**daemon.settings, "sites": urls})
    _install_devices(daemon.plugins)
    command = [*under, *daemon.command(f"--logfile={daemon.log}")]
    return running(command, port, "http", daemon.plugins, source, environment)


def before(folder: Path, pdus: dict[str, Any], **settings: Any) -> AbstractContextManager[Server | None]:
    """Run our daemon as it was; None where that cannot be had."""
    source = earlier_source()
    return nullcontext() if source is None else ours(folder, pdus, source=source, **settings)


def released(folder: Path, pdus: dict[str, Any], protocol: str) -> AbstractContextManager[Server | None]:
    """Run the released daemon; None where it cannot be installed."""
    if (program := released_program()) is None:
        return nullcontext()
    folder.mkdir()
    _install_devices(folder)
    (port,) = free_ports()
    section = {"hostname": "127.0.0.1", "port": port, "listener": protocol, "logging_level": "INFO"}
    (folder / "conf").write_text(json.dumps({"daemon": section, "pdus": pdus}))
    return running([str(program), f"--conf={folder / 'conf'}", f"--logfile={folder / 'log'}"], port, protocol, folder)


def _install_devices(folder: Path) -> None:
    install_plugin(folder, "benchdevices", (Path(__file__).parent / "plugin.py").read_text(), DEVICES)


@functools.cache
def released_program() -> Path | None:
    """Install the released daemon unless it is there; print why if that cannot be done."""
    place = _cache() / f"pdudaemon-{RELEASE}"
    program = place / "bin" / "pdudaemon"
    if program.exists():
        return program
    print(f"installing pdudaemon {RELEASE} into {place}", flush=True)
    make = [sys.executable, "-m", "venv", "--clear", str(place)]
    for step in (make, [str(place / "bin" / "pip"), "install", "--quiet", f"pdudaemon=={RELEASE}"]):
        try:
            subprocess.run(step, capture_output=True, text=True, timeout=300, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"it cannot be installed (Debian: it needs libsystemd-dev, pkg-config and gcc): {error.stderr!s}")
            print("going on without it")
            return None
    return program


@functools.cache
def earlier_source() -> Path | None:
    """Take the commit that ``BENCH_BASE`` names out of the repository, unless it is there; print why if it cannot."""
    name = os.environ.get("BENCH_BASE") or BASE
    try:
        commit = _git("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()
        place = _cache() / f"ours-{commit}"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as folder:
                with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, "pdudaemon"))) as archive:
                    archive.extractall(Path(folder) / "source")
                os.rename(Path(folder) / "source", place)  # whole or not at all
    except (OSError, subprocess.SubprocessError) as error:
        print(f"going on without our commit {name}: {error}")
        return None
    print(f"before: our commit {commit[:12]}")
    return place


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=True).stdout


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pdudaemon-bench"


@contextmanager
def process(command: Sequence[str], folder: Path = ROOT, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a folder, and kill it at the end. Raises: Crashed, if it has ended before."""
    begun = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield begun
        if begun.poll() is not None:
            raise Crashed(f"{command} ended by itself with {begun.returncode}")
    finally:
        begun.kill()
        begun.wait()


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    protocol: str,
    plugins: Path = ROOT,
    source: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server and wait until it answers a request that switches nothing."""
    text = load.http_text("nobody") if protocol == "http" else load.tcp_text("nobody")
    begin = time.monotonic()
    with process(command, source, PYTHONPATH=str(plugins), **(environment or {})) as begun:
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
