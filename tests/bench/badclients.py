# SPDX-License-Identifier: MIT
"""500 idle, 500 dribbling and 500 deaf clients from three addresses: what eight good ones from a fourth feel of them.

Two daemons side by side, with the crowd (a process of its own) at one of them, are pressed in turn for short slices by
keep-alive clients that wait for their results. `as shipped` has the bounds that are the default; with `all let in` there
is room for everybody.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from contextlib import ExitStack
from typing import Any

from tests.bench import load, peers
from tests.bench.report import Bench

EACH = 500
CLIENTS = 8
GOOD = "127.0.0.5"
PEERS = ("crowd", "nobody else")
ROWS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "all let in": {"max_connections": 4 * EACH, "max_connections_per_address": EACH},
}


def measure(bench: Bench) -> None:
    """Press both daemons in turn, for each of the bounds."""
    pdus = {f"pdu{number}": {"driver": "instant"} for number in range(128)}
    asked = [load.http_text(f"pdu{number}") for number in range(128)]
    for round_, (row, bounds) in itertools.product(range(bench.rounds), ROWS.items()):
        with ExitStack() as stack:
            servers = {
                peer: stack.enter_context(peers.ours(bench.folder / f"bad-{row}-{peer}-{round_}", pdus, **bounds))
                for peer in PEERS
            }
            connected = bench.folder / "crowd"
            connected.unlink(missing_ok=True)
            command = [sys.executable, "-m", "tests.bench.crowd", str(servers["crowd"].port), str(EACH), str(connected)]
            stack.enter_context(peers.process(command))
            give_up = time.monotonic() + load.PATIENCE
            while not connected.exists():
                if time.monotonic() > give_up:
                    raise peers.Crashed("the crowd does not come")
                time.sleep(0.1)
            time.sleep(3)  # until the deaf ones have asked for more than their sockets hold
            times: dict[str, list[float]] = {peer: [] for peer in PEERS}
            lost = dict.fromkeys(PEERS, 0)
            for _, peer in itertools.product(range(2 if bench.quick else 8), PEERS):
                texts = [itertools.cycle(asked[client::CLIENTS]) for client in range(CLIENTS)]
                press = load.Press(servers[peer].port, texts, keep=True, source=GOOD)
                press.run(0.7)
                times[peer] += press.times
                lost[peer] += press.lost
            print(f"{row}: connected {connected.read_text()}; requests of good ones not answered: {lost['crowd']}")
            if lost["nobody else"]:
                bench.fail(f"{lost['nobody else']} requests of ours were not answered, without any crowd")
        for peer in PEERS:
            if lost[peer]:
                bench.add(row, peer, p50=math.inf, p99=math.inf)
            else:
                bench.add_times(row, peer, times[peer])
    bench.table(list(ROWS), PEERS, ("p50", "p99"))
    for row in ROWS:
        bench.judge(f"{row}: p99 of good clients, crowd per nobody else", bench.ratios(row, "p99", *PEERS), most=2)
