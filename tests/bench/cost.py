# SPDX-License-Identifier: MIT
"""What a request costs: CPU and voluntary context switches, with 16 keep-alive clients, answered when done.

A driver in the server's own process reads both, for all threads and those that have ended as well. `bare` does nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import load, peers
from tests.bench.peers import Server
from tests.bench.report import Bench

CLIENTS = 16
ROW = "keep-alive HTTP, 16"
PEERS = ("ours", "before", "released", "bare")


def measure(bench: Bench) -> None:
    """Press all in turn."""
    asked = [load.http_text(f"pdu{number}") for number in range(128)]
    seconds = 0.5 if bench.quick else 3.0
    with ExitStack() as stack:
        servers = _servers(bench, stack)
        for round_ in range(-1, bench.rounds):  # one before the first, so that threads and caches are there
            for peer, (server, used) in servers.items():
                texts = [itertools.cycle(asked[client::CLIENTS]) for client in range(CLIENTS)]
                press = load.Press(server.port, texts, keep=True)
                before = used()
                press.run(seconds)
                cpu, switches = (now - then for now, then in zip(used(), before, strict=True))
                if press.lost and peer == "ours":
                    bench.fail(f"{press.lost} requests of ours were not answered")
                if round_ >= 0 and press.times:
                    answered = len(press.times)
                    bench.add(ROW, peer, cpu_us=cpu / answered * 1e6, switches=switches / answered)
    bench.table([ROW], PEERS, ("cpu_us", "switches"))
    bench.judge(f"{ROW}: voluntary context switches a request", bench.values[ROW, "ours", "switches"], most=6)
    bench.judge(f"{ROW}: CPU a request, us", bench.values[ROW, "ours", "cpu_us"], most=450)
    for peer in PEERS[1:]:
        ratios = " ".join(f"{each:.2f}" for each in bench.ratios(ROW, "cpu_us", "ours", peer))
        print(f"  {ROW}: CPU, ours per {peer}: {ratios}")


def _servers(bench: Bench, stack: ExitStack) -> dict[str, tuple[Server, Callable[[], tuple[float, float]]]]:
    """Start all; return each with what says how much it has used."""
    found: dict[str, tuple[Server, Callable[[], tuple[float, float]]]] = {}
    kinds: dict[str, Any] = {
        "ours": peers.ours,
        "before": peers.before,
        "released": partial(peers.released, protocol="http"),
    }
    for peer, kind in kinds.items():
        file = bench.folder / f"cost-{peer}-used"
        pdus: dict[str, dict[str, object]] = {f"pdu{number}": {"driver": "instant"} for number in range(128)}
        pdus["meter"] = {"driver": "meter", "file": str(file)}
        server = stack.enter_context(kind(bench.folder / f"cost-{peer}", pdus))
        if server is not None:
            found[peer] = server, partial(_by_driver, server, file)
    bare = stack.enter_context(peers.bare("http"))
    found["bare"] = bare, partial(_by_bare, bare)
    return found


def _by_driver(server: Server, file: Path) -> tuple[float, float]:
    with server.connect() as connection:
        load.ask(connection, load.http_text("meter"))
    return _numbers(file.read_text())


def _by_bare(server: Server) -> tuple[float, float]:
    with server.connect() as connection:
        answer = load.ask(connection, load.http_get("/used"))
    return _numbers(answer.partition(b"\r\n\r\n")[2].decode())


def _numbers(text: str) -> tuple[float, float]:
    cpu, switches = map(float, text.split())
    return cpu, switches
