# SPDX-License-Identifier: MIT
"""Status of 500 nodes, each a script that takes 100 ms, asked for at once by OpenFlight's route.

50 may act at a time, so the ideal is 10 times 100 ms. Beside it the same scripts, run by 50 threads that do nothing
else: what this machine can do at best. A daemon just started has 500 workers to start besides.
"""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.bench import load, peers
from tests.bench.report import Bench

NODES = 500
PARALLEL = 50
SCRIPT = "sleep 0.1"
IDEAL = NODES / PARALLEL * 0.1
ROWS = ("just started", "again")


def measure(bench: Bench) -> None:
    """Ask a daemon that has just started, and ask again."""
    names = [f"node{number:03}" for number in range(NODES)]
    topology = {
        "static_nodes": {name: {"platform": "slow"} for name in names},
        "platforms": {"slow": {"status": SCRIPT, "parallel": str(PARALLEL)}},
    }
    for round_ in range(bench.rounds):
        with peers.ours(bench.folder / f"nodes-{round_}", {}, topology=json.dumps(topology)) as our:
            for row in ROWS:
                begin = time.monotonic()
                entries = asked(our, f"/?nodes=node[000-{NODES - 1}]")
                took = time.monotonic() - begin
                bench.add(row, "ours", s=took, ratio=took / IDEAL)
                if [entry["id"] for entry in entries if entry["attributes"].get("running")] != names:
                    bench.fail(f"{row}: not every node is said to be on")
                took = _bare()
                bench.add(row, "bare", s=took, ratio=took / IDEAL)
    bench.table(ROWS, ["ours", "bare"], ("s", "ratio"))
    for row in ROWS:
        bench.judge(f"status of {NODES} nodes, {row}, per ideal", bench.values[row, "ours", "ratio"], most=1.3)


def asked(server: peers.Server, path: str) -> list[Any]:
    """Return the entries of an answer to OpenFlight's route."""
    with server.connect() as connection:
        answer = load.ask(connection, load.http_get(path))
    return list(json.loads(answer.partition(b"\r\n\r\n")[2])["data"])


def _bare() -> float:
    def run(_: int) -> None:
        subprocess.run(["/bin/sh", "-c", SCRIPT], stdin=subprocess.DEVNULL, check=True)

    begin = time.monotonic()
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(run, range(NODES)))
    return time.monotonic() - begin
