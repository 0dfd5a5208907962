# SPDX-License-Identifier: MIT
"""What an outlet was last told: its status, where the device cannot say it and it was never switched.

The store remembers 1,000,000 requests to another outlet, or hardly any. What the former takes longer than the latter is
the search; before, that was done with the lock held on which all requests wait. What the history costs at the start is
measured as well.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import load, peers
from tests.bench.report import Bench

START = "start"
TIMES = "status, ms"
SLOW = 5.0  # seconds in a round after which there is no need to ask further
PDUS = {"pdu": {"driver": "instant"}}
ASKED = load.http_text("pdu", 7, "status")


def measure(bench: Bench) -> None:
    """Ask all in turn, each on a kept connection."""
    rows = 100_000 if bench.quick else 1_000_000
    full, little = f"ours, {rows} remembered", "ours, hardly any"
    kinds: dict[str, tuple[Any, int]] = {
        little: (peers.ours, 0),
        full: (peers.ours, rows),
        f"before, {rows} remembered": (peers.before, rows),
    }
    with ExitStack() as stack:
        servers = {}
        for way, (kind, count) in kinds.items():
            start = partial(kind, bench.folder / f"lasttold {way}", PDUS, history=10_000_000)
            with start() as server:
                if server is None:
                    continue
                with server.connect() as connection:
                    load.ask(connection, load.http_text("pdu"))
            if count:
                remember(bench.folder / f"lasttold {way}" / "store.db", count)
            servers[way] = stack.enter_context(start())
            bench.add(way, START, s=servers[way].start, MiB=servers[way].resident)
        for _ in range(bench.rounds):
            connections = {way: stack.enter_context(closing(each.connect())) for way, each in servers.items()}
            times: dict[str, list[float]] = {way: [] for way in connections}
            for turn in range(51):
                for way, connection in connections.items():
                    if turn and sum(times[way]) > SLOW:
                        continue
                    begin = time.monotonic()
                    load.ask(connection, ASKED)
                    if turn:  # the first one uncounted
                        times[way].append(time.monotonic() - begin)
            for way, each in times.items():
                bench.add_times(way, TIMES, each)
    bench.table(list(kinds), [START], ("s", "MiB"))
    bench.table(list(kinds), [TIMES], ("p50", "p99"))
    pairs = zip(bench.values[full, TIMES, "p50"], bench.values[little, TIMES, "p50"], strict=True)
    bench.judge(f"p50 with {rows} remembered, ms more", [one - other for one, other in pairs], most=0.1)


def remember(file: Path, count: int) -> None:
    """Add so many requests to a store, all like the last one in it that has ended."""
    with closing(sqlite3.connect(file)) as store:
        columns = ", ".join(name for _, name, *_ in store.execute("PRAGMA table_info(request)") if name != "id")
        store.execute(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?),"
            " old AS (SELECT * FROM request WHERE ended IS NOT NULL ORDER BY id DESC LIMIT 1)"
            f" INSERT INTO request (id, {columns}) SELECT old.id + n, {columns} FROM number, old",
            (count,),
        )
        store.commit()
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
