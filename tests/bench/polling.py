# SPDX-License-Identifier: MIT
"""10,000 PDUs, and one client that looks at all of them: what four others get accepted meanwhile.

The poller, a process of its own, takes a rest of a second each time, or none at all. The others ask for 128 of the
PDUs, whose devices take a second, and are answered when their requests are committed (`wait: 0`).
"""

from __future__ import annotations

import itertools
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tests.bench import load, peers
from tests.bench.report import Bench

PDUS = 10_000
CLIENTS = 4
ALONE = "nobody looks"
PAUSES = {"a look a second": 1.0, "looks without rest": 0.0}
ROWS = (ALONE, *PAUSES)
PEERS = ("ours", "before")


def measure(bench: Bench) -> None:
    """Press each daemon without and with a poller, in turn."""
    pdus = {f"pdu{number:05}": {"driver": "dummy", "slow": 1} for number in range(PDUS)}
    asked = [load.http_text(f"pdu{number:05}") for number in range(128)]
    seconds = 1.5 if bench.quick else 4.0
    for round_, (peer, kind) in itertools.product(
        range(bench.rounds), {"ours": peers.ours, "before": peers.before}.items()
    ):
        with kind(bench.folder / f"polling-{peer}-{round_}", pdus, wait=0, max_queue=1_000_000) as server:
            if server is None:
                continue
            for row in ("", *ROWS):  # once for the threads, uncounted
                texts = [itertools.cycle(asked[client::CLIENTS]) for client in range(CLIENTS)]
                press = load.Press(server.port, texts, keep=True)
                file = bench.folder / f"polls-{peer}-{round_}-{row}"
                file.touch()
                with _polling(server.port, PAUSES[row], file) if row in PAUSES else nullcontext():
                    press.run(seconds if row else 0.3)
                if row:
                    looks = file.stat().st_size / seconds
                    bench.add(row, peer, per_s=press.accepted / seconds, looks=looks)
                if press.lost and peer == "ours":
                    bench.fail(f"{press.lost} requests of ours were not answered")
    bench.table(ROWS, PEERS, ("per_s", "looks"))
    for row in PAUSES:
        bench.judge(f"accepted, {row} per {ALONE}", bench.between(row, ALONE, "ours", "per_s"), least=0.9)


def _polling(port: int, pause: float, file: Path) -> AbstractContextManager[object]:
    command = [sys.executable, "-m", "tests.bench.poller", str(port), str(PDUS), str(pause), str(file)]
    return peers.process(command)
