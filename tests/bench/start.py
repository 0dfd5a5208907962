# SPDX-License-Identifier: MIT
"""Starting with many PDUs, from exec to the first answer, and resting with them."""

from __future__ import annotations

import time
from typing import Any

from tests.bench import peers
from tests.bench.report import Bench

ROW = "1000 PDUs"
MORE = "5000 PDUs"


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
        with peers.ours(bench.folder / f"start-more-{round_}", _pdus(5000)) as our:
            bench.add(MORE, "ours", start_s=our.start, MiB=our.resident)
    bench.table([ROW, MORE], ["ours", "released"], ("start_s", "MiB", "cpu_pct"))
    bench.judge("1000 PDUs: start, per released", bench.ratios(ROW, "start_s", "ours", "released"), most=0.5)
    bench.judge("1000 PDUs: resident, MiB", bench.values[ROW, "ours", "MiB"], most=45)
    bench.judge("1000 PDUs: idle CPU, %", bench.values[ROW, "ours", "cpu_pct"], most=0.05)
    bench.judge("5000 PDUs: start, s", bench.values[MORE, "ours", "start_s"], most=2.5)


def _pdus(number: int) -> dict[str, Any]:
    commands = {"cmd_on": "relay on %s", "cmd_off": "relay off %s"}
    return {f"pdu{each:04}": {"driver": "localcmdline", **commands} for each in range(number)}
