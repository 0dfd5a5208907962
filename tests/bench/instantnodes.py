# SPDX-License-Identifier: MIT
"""Status of 2,000 nodes whose devices take no time, asked for at once by OpenFlight's route.

`one each`: every node has a PDU of its own. `16 each`: as many share one. A daemon just started has the workers of all
these PDUs to start besides.
"""

from __future__ import annotations

import itertools
import time

from tests.bench import peers
from tests.bench.nodes import asked
from tests.bench.report import Bench

NODES = 2000
SHARING = {"one each": 1, "16 each": 16}
PEERS = ("ours", "before")
NAMES = [f"node{number:04}" for number in range(NODES)]


def measure(bench: Bench) -> None:
    """Ask a daemon that has just started, and ask again."""
    kinds = {"ours": peers.ours, "before": peers.before}
    for round_, (row, sharing), (peer, kind) in itertools.product(range(bench.rounds), SHARING.items(), kinds.items()):
        pdus = {f"pdu{number}": {"driver": "dummy", "outlets": 16} for number in range(NODES // sharing)}
        nodes = {
            name: {"feeds": [{"hostname": f"pdu{number // sharing}", "port": number % sharing + 1}]}
            for number, name in enumerate(NAMES)
        }
        with kind(bench.folder / f"instantnodes-{row}-{peer}-{round_}", pdus, nodes=nodes) as server:
            if server is None:
                continue
            for when in ("just started", "again"):
                begin = time.monotonic()
                entries = asked(server, f"/?nodes=node[0000-{NODES - 1}]")
                bench.add(f"{row}, {when}", peer, s=time.monotonic() - begin)
                known = [entry["id"] for entry in entries if entry["attributes"].get("running") is False]
                if known != NAMES and peer == "ours":
                    bench.fail(f"{row}, {when}: {len(known)} of {NODES} nodes are said to be off, as they are")
    rows = [f"{row}, {when}" for row in SHARING for when in ("just started", "again")]
    bench.table(rows, PEERS, ("s",))
    for row in rows:
        bench.judge(f"status of {NODES} nodes, {row}, s", bench.values[row, "ours", "s"], most=1)
