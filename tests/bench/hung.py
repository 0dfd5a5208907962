# SPDX-License-Identifier: MIT
"""100 PDUs, one of them hung: what the requests to the other 99 feel of it.

Two daemons side by side, all well in one of them, are pressed in turn for short slices by 8 keep-alive clients that ask
for the 99 PDUs one after the other and wait for each result. Before that, 64 clients have asked each daemon for the
hundredth PDU: in one of them they are still waiting.
"""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack, closing

from tests.bench import load, peers
from tests.bench.peers import Server
from tests.bench.report import Bench

ROW = "the other 99, ms"
PEERS = ("one hung", "all well")
CLIENTS = 8


def measure(bench: Bench) -> None:
    """Press both daemons in turn."""
    for round_ in range(bench.rounds):
        with ExitStack() as stack:
            servers: dict[str, Server] = {}
            for peer in PEERS:
                pdus: dict[str, dict[str, object]] = {f"pdu{number}": {"driver": "instant"} for number in range(99)}
                pdus["pdu99"] = {"driver": "dummy", "outlets": 64, "deaf": peer == "one hung"}
                servers[peer] = stack.enter_context(peers.ours(bench.folder / f"hung-{peer}-{round_}", pdus))
                for port in range(1, 65):
                    stack.enter_context(closing(servers[peer].connect())).sendall(load.http_text("pdu99", port))
            time.sleep(0.5)  # until they all wait, or have been answered
            times: dict[str, list[float]] = {peer: [] for peer in PEERS}
            for _, peer in itertools.product(range(2 if bench.quick else 8), PEERS):
                asked = [load.http_text(f"pdu{number}") for number in range(99)]
                texts = [itertools.cycle(asked[client::CLIENTS]) for client in range(CLIENTS)]
                press = load.Press(servers[peer].port, texts, keep=True)
                press.run(0.7)
                times[peer] += press.times
                if press.lost or press.refused:
                    bench.fail(f"{peer}: {press.lost} requests not answered, {press.refused} refused")
        for peer in PEERS:
            bench.add_times(ROW, peer, times[peer])
    bench.table([ROW], PEERS, ("p50", "p99"))
    bench.judge("p99, one hung per all well", bench.ratios(ROW, "p99", "one hung", "all well"), most=1.1)
