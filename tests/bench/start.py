# SPDX-License-Identifier: MIT
"""Starting with many PDUs, from exec to the first answer, and resting with them.

`mixed` takes turns among the examples of all drivers, which the released daemon could not start with.
"""

from __future__ import annotations

import json
import time
from typing import Any

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import registered
from tests.bench import peers
from tests.bench.peers import Server
from tests.bench.report import Bench
from tests.support.docs import example

ROW = "1000 PDUs"
MIXED = "1000 mixed PDUs"
MORE = "10000 PDUs"


def measure(bench: Bench) -> None:
    """Start, rest, and start with more."""
    rest = 3.0 if bench.quick else 10.0
    for round_ in range(bench.rounds):
        with (
            peers.ours(bench.folder / f"start-{round_}", _pdus(1000)) as our,
            peers.released(bench.folder / f"start-released-{round_}", _pdus(1000), "http") as theirs,
        ):
            servers = {"ours": our} if theirs is None else {"ours": our, "released": theirs}
            used = {peer: server.cpu for peer, server in servers.items()}
            time.sleep(rest)
            for peer, server in servers.items():
                idle = (server.cpu - used[peer]) / rest * 100
                bench.add(ROW, peer, start_s=server.start, MiB=server.resident, cpu_pct=idle)
        with peers.ours(bench.folder / f"start-mixed-{round_}", _mixed(1000)) as our:
            bench.add(MIXED, "ours", start_s=our.start, MiB=our.resident, cpu_pct=_idle(our, rest))
        with peers.ours(bench.folder / f"start-more-{round_}", _pdus(10000)) as our:
            bench.add(MORE, "ours", start_s=our.start, MiB=our.resident, cpu_pct=_idle(our, rest))
    bench.table([ROW, MIXED, MORE], ["ours", "released"], ("start_s", "MiB", "cpu_pct"))
    bench.judge("1000 PDUs: start, per released", bench.ratios(ROW, "start_s", "ours", "released"), most=0.5)
    bench.judge("1000 PDUs: resident, MiB", bench.values[ROW, "ours", "MiB"], most=45)
    bench.judge("1000 PDUs: idle CPU, %", bench.values[ROW, "ours", "cpu_pct"], most=0.05)
    pairs = zip(bench.values[MIXED, "ours", "start_s"], bench.values[ROW, "released", "start_s"], strict=False)
    bench.judge("1000 mixed PDUs: start, per released's 1000", [one / other for one, other in pairs], most=0.5)
    bench.judge("1000 mixed PDUs: resident, MiB", bench.values[MIXED, "ours", "MiB"], most=45)
    bench.judge("1000 mixed PDUs: idle CPU, %", bench.values[MIXED, "ours", "cpu_pct"], most=0.05)
    bench.judge("10000 PDUs: start, s", bench.values[MORE, "ours", "start_s"], most=2)
    bench.judge("10000 PDUs: resident, MiB", bench.values[MORE, "ours", "MiB"], most=100)
    bench.judge("10000 PDUs: idle CPU, %", bench.values[MORE, "ours", "cpu_pct"], most=0.05)


def _idle(server: Server, seconds: float) -> float:
    """Return how much of a processor a server takes that has nothing to do, in percent."""
    used = server.cpu
    time.sleep(seconds)
    return (server.cpu - used) / seconds * 100


def _pdus(number: int) -> dict[str, Any]:
    commands = {"cmd_on": "relay on %s", "cmd_off": "relay off %s"}
    return {f"pdu{each:05}": {"driver": "localcmdline", **commands} for each in range(number)}


def _mixed(number: int) -> dict[str, Any]:
    """Return PDUs of every family, each as the documentation of its driver shows it."""
    assert strategies.names()
    examples = [
        json.loads(f"{{{example(module)}}}") for module in sorted({each.__module__ for each in registered.values()})
    ]
    entries = [entry for each in examples for entry in each.values()]
    return {f"pdu{each:04}": entries[each % len(entries)] for each in range(number)}
