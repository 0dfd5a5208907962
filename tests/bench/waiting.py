# SPDX-License-Identifier: MIT
"""Clients that wait for their results all at once, and what each is told in the end: `BENCH=long` has 100,000 of them, or
as many as a process may have files open.

The devices act only when all wait: half of them do as they are told and half fail, and each client must hear which,
not before and nothing else. Every other client speaks HTTP, the others the text protocol. Memory is what the daemon's
process grows by, and what the kernel has for both ends of all connections.
"""

from __future__ import annotations

import fcntl
import resource
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.bench import load, peers
from tests.bench.peers import Server
from tests.bench.report import Bench

PDUS = 128
SOURCES = [f"127.0.0.{number}" for number in range(10, 20)]  # one address has 28,000 ports
SPARE = 1000  # descriptors for what is no client
STALL = 30.0  # seconds without any answer after which no more are expected
METRICS = ("ask_s", "hear_s", "MiB", "KiB_each", "kernelMiB")


def measure(bench: Bench) -> None:
    """Have all ask, then let the devices act."""
    count = min(100_000 if bench.long else 1_000 if bench.quick else 5_000, _most_descriptors() - SPARE)
    row = f"{count} clients"
    gate = bench.folder / "gate"
    gate.touch()
    pdus: dict[str, dict[str, object]] = {
        f"pdu{number}": {"driver": "gate", "file": str(gate), "fails": _fails(number), "retries": 1, "timeout": 3600}
        for number in range(PDUS)
    }
    bounds: dict[str, Any] = {
        "max_connections": count,
        "max_connections_per_address": count,
        "max_queue": count,
        "wait": 3600,
    }
    with _descriptors(count + SPARE):
        for round_ in range(1 if bench.long else bench.rounds):
            with (
                gate.open() as file,
                peers.ours(bench.folder / f"waiting-{round_}", pdus, **bounds) as server,
                closing(Waiters(server, file.fileno())) as waiters,
            ):
                resident, kernel, begin = server.resident, _kernel_memory(), time.monotonic()
                waiters.ask(count)
                bench.add(row, "ours", ask_s=time.monotonic() - begin, kernelMiB=_kernel_memory() - kernel)
                grown = server.resident - resident
                bench.add(row, "ours", MiB=grown, KiB_each=grown * 1024 / count)
                begin = time.monotonic()
                waiters.hear()
                bench.add(row, "ours", hear_s=time.monotonic() - begin)
            told = waiters.told
            bench.add(row, "ours", right=told["right"] / count)
            print(f"{row}: {', '.join(f'{what} {number}' for what, number in told.items())}")
            if told["no answer"]:
                bench.fail(f"{told['no answer']} of {count} waiting clients were not answered")
    bench.table([row], ["ours"], METRICS)
    bench.judge(f"{row}: part that hears what became of it", bench.values[row, "ours", "right"], least=1)


def _fails(pdu: int) -> bool:
    return pdu % 2 == 1


class Waiters:
    """The clients, in one loop. ``told`` counts what they got: what is right, wrong or told too early, or no answer."""

    def __init__(self, server: Server, gate: int) -> None:
        self._server = server
        self._gate = gate  # descriptor of the file that the devices wait for
        self._open: dict[int, tuple[socket.socket, bytes]] = {}
        self._epoll = select.epoll()
        self.told: Counter[str] = Counter()

    def ask(self, count: int) -> None:
        """Have so many ask, and return when the daemon has come to rest."""
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        for number in range(count):
            connection = socket.create_connection(
                ("127.0.0.1", self._server.port), 60, (SOURCES[number % len(SOURCES)], 0)
            )
            text, right = _exchange(number)
            connection.sendall(text)
            self._open[connection.fileno()] = connection, right
            self._epoll.register(connection, select.EPOLLIN)
        used = -1.0
        while used < self._server.cpu:
            used = self._server.cpu
            time.sleep(1)
        while self._turn(0, early=True):
            pass

    def hear(self) -> None:
        """Let the devices act, and return when all have heard, or nobody has for a while."""
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        while self._open and self._turn(STALL):
            pass

    def _turn(self, seconds: float, early: bool = False) -> int:
        """Take in the answers that have come, waiting for one; return how many. All that come ``early`` are wrong."""
        ready = self._epoll.poll(seconds)
        for number, _ in ready:
            connection, right = self._open.pop(number)
            try:
                answer = connection.recv(65536)  # an answer is sent in one piece
            except OSError:
                answer = b""
            what = "too early" if early else "right" if answer.startswith(right) else "wrong"
            self.told[what if answer else "no answer"] += 1
            connection.close()
        return len(ready)

    def close(self) -> None:
        """Let go of all."""
        self.told["no answer"] += len(self._open)
        for connection, _ in self._open.values():
            connection.close()
        self._epoll.close()


def _exchange(number: int) -> tuple[bytes, bytes]:
    """Return what a client sends, and how the right answer begins."""
    pdu = number // 2 % PDUS
    if number % 2:
        return load.tcp_text(f"pdu{pdu}"), b"nack" if _fails(pdu) else b"ack"
    return load.http_text(f"pdu{pdu}"), b"HTTP/1.1 502 " if _fails(pdu) else b"HTTP/1.1 200 "


def _most_descriptors() -> int:
    """Return how many files a process may have open here, which only the mighty may raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    except ValueError:
        return hard
    return most


@contextmanager
def _descriptors(count: int) -> Iterator[None]:
    """Let this process, and those that it starts, open so many files meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _kernel_memory() -> float:
    """Return what the kernel has for all of its objects, and in the buffers of all TCP connections, in MiB."""
    buffers = Path("/proc/net/sockstat").read_text().partition("TCP:")[2].partition(" mem ")[2].split()[0]
    objects = Path("/proc/meminfo").read_text().partition("Slab:")[2].split()[0]
    return int(buffers) * resource.getpagesize() / 2**20 + int(objects) / 1024
