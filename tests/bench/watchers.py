# SPDX-License-Identifier: MIT
"""1,000 who watch what happens: what four clients get accepted meanwhile.

The watchers are a process of its own, which does no more than read, on the same machine. The devices take a second, and
clients are answered when their requests are committed (`wait: 0`).
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests.bench import load, peers
from tests.bench.report import Bench

CLIENTS = 4
PDUS = 128
ALONE = "nobody watches"
COUNTS = {"1,000 watch all": (1000, ""), "1,000 watch a node each": (1000, "?pdu=pdu{}")}
ROWS = (ALONE, *COUNTS)


def measure(bench: Bench) -> None:
    """Press the daemon without and with watchers, in turn."""
    pdus = {f"pdu{number}": {"driver": "dummy", "slow": 1} for number in range(PDUS)}
    asked = [load.http_text(f"pdu{number}") for number in range(PDUS)]
    seconds = 2.0 if bench.quick else 5.0
    bounds = {"max_queue": 1_000_000, "max_connections": 3000, "max_connections_per_address": 3000}
    for round_, row in itertools.product(range(bench.rounds), ROWS):
        # Each on a daemon of its own: what is accepted and not done yet makes the next slower.
        with peers.ours(bench.folder / f"watchers-{round_}-{ROWS.index(row)}", pdus, wait=0, **bounds) as server:
            texts = [itertools.cycle(asked[client::CLIENTS]) for client in range(CLIENTS)]
            load.Press(server.port, texts, keep=True).run(0.3)  # for the threads
            file = bench.folder / f"heard-{round_}-{row}"
            with _watching(server.port, *COUNTS[row], file) if row in COUNTS else nullcontext():
                press, cpu = load.Press(server.port, texts, keep=True), server.cpu
                press.run(seconds)
                cpu, resident = server.cpu - cpu, server.resident
            bench.add(row, "ours", per_s=press.accepted / seconds, cpu_us=1e6 * cpu / press.accepted, MiB=resident)
            if row in COUNTS:
                heard = json.loads(file.read_text().splitlines()[-1])
                bench.add(row, "ours", MB_heard=heard["bytes"] / 1e6)
                if heard["open"] < COUNTS[row][0]:
                    bench.fail(f"{COUNTS[row][0] - heard['open']} watchers were closed")
            if press.lost:
                bench.fail(f"{press.lost} requests of ours were not answered")
    bench.table(ROWS, ["ours"], ("per_s", "cpu_us", "MB_heard", "MiB"))
    for row in COUNTS:
        bench.judge(f"accepted, {row} per {ALONE}", bench.between(row, ALONE, "ours", "per_s"), least=0.9)


@contextmanager
def _watching(port: int, count: int, query: str, file: Path) -> Iterator[None]:
    """Run the watchers, from when all of them watch."""
    command = [sys.executable, "-m", "tests.bench.audience", str(port), str(count), query, str(file)]
    with peers.process(command) as begun:
        while not file.exists() or not file.stat().st_size:
            if begun.poll() is not None:
                raise peers.Crashed(f"{command} ended by itself")
            time.sleep(0.05)
        yield
