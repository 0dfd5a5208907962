# SPDX-License-Identifier: MIT
"""The daemon as a process of its own, on a free loopback port, and small clients for it."""

from __future__ import annotations

import copy
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pdudaemon.drivers import strategies
from tests.support.forkserver import Process, Program

ROOT = Path(__file__).parent.parent.parent
START_BOUND = 300.0
TOLD = 10_000  # characters of a log, the last, in which it says why it has not started
BASE = {"PYTHONDONTWRITEBYTECODE": "1"}  # plugins come and go
TOKENS = ("encodings.idna", "encodings.utf_8_sig", "jwt")  # what takes a daemon with tokens longer than all else
# What takes one longer that has sites, a topology or a broker.
OTHERS = ("pdudaemon.engine.front.site", "encodings.latin_1", "yaml", "paho.mqtt.client", "tests.support.started")
PDUDAEMON = Program("pdudaemon.cli", folder=ROOT, ahead=(*TOKENS, *strategies.modules(), *OTHERS))
ASKING = ("http.client", "ssl", "encodings.idna", "datetime", "shutil", "uuid")  # what most runs of the client come to
PDUCLIENT = Program(str(ROOT / "pduclient"), "-I", "-S", ahead=ASKING)


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Daemon:
    """A daemon with a configuration of its own. ``plugins`` is a folder for installed third-party drivers.

    ``topology`` and ``secret`` are texts: of an OpenFlight topology, and of the secret by which tokens are signed.
    With a ``token`` set, HTTP requests carry it. ``real`` starts the program itself, not a fork of one that is loaded.
    """

    def __init__(
        self,
        folder: Path,
        pdus: dict[str, Any],
        aliases: dict[str, Any] | None = None,
        nodes: dict[str, Any] | None = None,
        groups: dict[str, Any] | None = None,
        topology: str = "",
        secret: str = "",
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.plugins = folder / "plugins"
        self.plugins.mkdir(exist_ok=True)
        self.conf = folder / "pdudaemon.conf"
        self.db = folder / "store.db"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | Process | None = None
        self.real = False
        self.port = 0
        self.token = ""
        for name, key, text in (("topology.yaml", "topology", topology), ("secret", "jwt_secret_file", secret)):
            if text:
                (folder / name).write_text(text)
                (folder / name).chmod(0o600)
                settings[key] = name
        section = {"hostname": "127.0.0.1", "port": 0, "listener": "both", "logging_level": "DEBUG", **settings}
        settings = {
            "daemon": section,
            "pdus": pdus,
            "aliases": aliases or {},
            "nodes": nodes or {},
            "groups": groups or {},
        }
        self.settings = copy.deepcopy(settings)  # a test changes its own, and no other's
        self.configure(self.settings)

    def configure(self, whole: Any) -> None:
        """Write the configuration."""
        self.conf.write_text(whole if isinstance(whole, str) else json.dumps(whole, indent=1))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the daemon."""
        return [sys.executable, "-m", "pdudaemon", f"--conf={self.conf}", f"--dbfile={self.db}", *arguments]

    def spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes] | Process:
        """Start the program, without waiting for anything."""
        path = os.pathsep.join([str(ROOT), str(self.plugins)])
        environment = {**os.environ, **BASE, "PYTHONPATH": path, "XDG_STATE_HOME": str(self.folder), **self.environment}
        command = self.command(*arguments)
        if self.real:
            return subprocess.Popen(command, env=environment, cwd=self.folder, **options)
        return PDUDAEMON.start(command[3:], environment, self.folder, **options)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        process = self.spawn(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out.decode(), err.decode())

    def start(self) -> None:
        """Start the daemon and return when it listens."""
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = self.spawn(stdout=log, stderr=log)
        give_up = time.monotonic() + START_BOUND
        started = r"listening on \S+:(\d+) .* has started"
        while not (found := re.search(started, self.log.read_bytes()[offset:].decode(), re.DOTALL)):
            assert self.process.poll() is None, self.log.read_text()[-TOLD:]
            assert time.monotonic() < give_up, self.log.read_text()[-TOLD:]
            time.sleep(0.01)
        self.port = int(found[1])

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """kill -9, if it runs at all."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def http(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Reply:
        """Make one HTTP request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Reply(response.status, response.read().decode(), dict(response.getheaders()))
        finally:
            connection.close()

    def power(self, action: str, pdu: str, port: Any, **words: Any) -> Reply:
        """Ask for an action by the legacy HTTP route."""
        query = "".join(f"&{name}={value}" for name, value in words.items())
        return self.http(f"/power/control/{action}?hostname={pdu}&port={port}{query}")

    def tcp(self, text: str | bytes, seconds: float = 60.0) -> str:
        """Send a text as old clients do and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(text.encode() if isinstance(text, str) else text)
            received = b""
            while more := connection.recv(4096):
                received += more
        return received.decode()

    def unended(self) -> int:
        """Return how many requests have not ended."""
        found, path = 0, "/api/v1/requests?limit=1000"
        while path:
            reply = self.http(path)
            found += sum(not each["ended"] for each in reply.json)
            path = reply.headers.get("Link", "").partition(">")[0][1:]
        return found

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let the store take nothing meanwhile, nor where its log is begun anew; small files, as logs are, may grow."""
        assert self.process is not None
        limits = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
        yield
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, limits)

    def outlets(self) -> dict[str, str]:
        """Return the outlets of the dummy PDU that keeps them in the file ``outlets`` of the daemon's folder."""
        return dict(json.loads((self.folder / "outlets").read_text()))

    def log_text(self) -> str:
        """Return what the daemon has logged so far, over all its runs. It gathers lines for a moment."""
        time.sleep(0.05)
        return self.log.read_text()


def eventually(condition: Any, seconds: float = 60.0) -> Any:
    """Return what ``condition`` returns, as soon as that is true; fail after some seconds.

    What takes long is looked at less often, since to look mostly takes a request, and many tests wait at a time.
    """
    give_up, pause = time.monotonic() + seconds, 0.02
    while not (found := condition()):
        assert time.monotonic() < give_up, "did not happen in time"
        time.sleep(pause)
        pause = min(pause * 1.2, 0.1)
    return found


def at_rest(daemon: Daemon, seconds: float = 60.0) -> None:
    """Wait until every request has ended, however long that takes a busy machine; fail if none ends for some seconds."""
    before, give_up, pause = 0, 0.0, 0.05
    while left := daemon.unended():
        if left != before:
            before, give_up = left, time.monotonic() + seconds
        assert time.monotonic() < give_up, f"{left} requests do not end"
        time.sleep(pause)
        pause = min(pause * 1.2, 0.2)


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Check that what is done meanwhile leaves no descriptor and no thread; what a fake device has may take a moment."""
    before = _held()
    yield
    eventually(lambda: all(now <= then for now, then in zip(_held(), before, strict=True)))


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file be written to meanwhile, as if there were no room on the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_threads() -> Iterator[threading.Event]:
    """Let no thread be started meanwhile, as if the machine had none; yield what says that one was refused."""
    refused = threading.Event()

    def refuse(_: threading.Thread) -> None:
        refused.set()
        raise RuntimeError("can't start new thread")

    start = threading.Thread.start
    threading.Thread.start = refuse  # type: ignore[method-assign]
    try:
        yield refused
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


def descriptors() -> set[tuple[str, str]]:
    """Return what this process has open. That of a thread of an earlier test may be closed at any time."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found


def _held() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def in_parallel(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make all calls at a time; return what they return, in order."""
    results: list[Any] = [None] * len(calls)

    def make(number: int) -> None:
        results[number] = calls[number]()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def install_plugin(folder: Path, name: str, source: str, entries: dict[str, str]) -> None:
    """Install a package with drivers: a module and its entry points, as pip would leave them."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{word} = {name}:{cls}\n" for word, cls in entries.items())
    (info / "entry_points.txt").write_text(f"[pdudaemon.driver]\n{lines}")
