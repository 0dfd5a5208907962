# SPDX-License-Identifier: MIT
"""Requests per second, and times in ms, with 128 PDUs asked in turn.

`accepting` answers when the request is committed (`wait: 0`) while its devices, which take a second, are all busy: that
is accepting alone. `ours` does the same while its workers switch devices that take no time, so that accepting and
working compete. `done` answers when such a device is done, as do `before`, our earlier commit, and the released daemon,
which keeps nothing on record. All log at INFO to a file. Ours serves both protocols on one port.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
import urllib.request
from contextlib import ExitStack, closing

from tests.bench import load, peers
from tests.bench.peers import Server
from tests.bench.report import Bench

WAYS = {"fresh HTTP": ("http", False), "keep-alive HTTP": ("http", True), "TCP": ("tcp", False)}
CLIENTS = (1, 16, 128)
OURS = ("accepting", "ours", "done")
PEERS = (*OURS, "before", "bare", "released")
PDUS = [f"pdu{number}" for number in range(128)]
INSTANT = {pdu: {"driver": "instant"} for pdu in PDUS}


def measure(bench: Bench) -> None:
    """Press each server in turn, round by round."""
    lost = dict.fromkeys(PEERS, 0)
    refused = dict.fromkeys(PEERS, 0)
    cpu = drained = 0.0
    with ExitStack() as stack:
        servers = _servers(bench, stack)
        for (_, protocol), server in servers.items():  # so that threads and caches are there
            _press(server, protocol, False, max(CLIENTS), 0.3)
        every = itertools.product(range(bench.rounds), WAYS.items(), CLIENTS, PEERS)
        for round_, (way, (protocol, keep)), clients, peer in every:
            row = f"{way}, {clients}"
            seconds = 0.4 if bench.quick else 1.5
            if peer == "accepting":
                press = _accepting(bench, f"{row}-{round_}", protocol, keep, clients, seconds)
            elif (peer, protocol) in servers:
                press = _press(servers[peer, protocol], protocol, keep, clients, seconds)
            else:
                continue
            if peer == "ours":
                drained = max(drained, _drained(servers["ours", "http"]))
            bench.add(row, peer, per_s=press.accepted / seconds)
            bench.add_times(row, peer, press.times)
            lost[peer] += press.lost
            refused[peer] += press.refused
            cpu = max(cpu, press.cpu)
    rows = [f"{way}, {clients}" for way in WAYS for clients in CLIENTS]
    bench.table(rows, PEERS, ("per_s", "p50", "p99"))
    for what, counts in (("without an answer", lost), ("refused", refused)):
        print(f"{what}: {', '.join(f'{peer} {count}' for peer, count in counts.items())}")
    print(f"all work was done {drained:.1f} s after the last request; the clients took {cpu:.0%} of a core at most")
    for peer in [peer for peer in OURS if lost[peer]]:
        bench.fail(f"{lost[peer]} requests of ours were not answered ({peer})")
    _judge(bench)


def _judge(bench: Bench) -> None:
    def judge(row: str, metric: str, peer: str, other: str, **target: float) -> None:
        what = f"{row}: {'' if metric == 'per_s' else f'{metric}, '}{peer} per {other}"
        bench.judge(what, bench.ratios(row, metric, peer, other), **target)

    keep16, keep128, tcp128 = "keep-alive HTTP, 16", "keep-alive HTTP, 128", "TCP, 128"
    judge(keep16, "per_s", "accepting", "bare", least=1)
    judge(keep128, "per_s", "accepting", "bare", least=1.2)
    for other, least in (("released", 1.5), ("before", 2.5)):
        for row in (keep16, keep128, tcp128):
            judge(row, "per_s", "done", other, least=least)
    judge(tcp128, "per_s", "ours", "bare", least=1)
    for peer in ("accepting", "ours"):
        judge(tcp128, "p99", peer, "bare", most=1)
        judge(keep128, "p99", peer, "bare", most=0.25)
    for row in ("fresh HTTP, 16", "fresh HTTP, 128"):
        judge(row, "per_s", "ours", "released", least=1)


def _servers(bench: Bench, stack: ExitStack) -> dict[tuple[str, str], Server]:
    """Start all but `accepting`; return them by peer and protocol."""
    enter = stack.enter_context
    servers: dict[tuple[str, str], Server | None] = {}
    both: dict[str, Server | None] = {
        "ours": enter(peers.ours(bench.folder / "throughput", INSTANT, wait=0)),
        "done": enter(peers.ours(bench.folder / "throughput-done", INSTANT)),
        "before": enter(peers.before(bench.folder / "throughput-before", INSTANT)),
    }
    for protocol in ("http", "tcp"):
        servers |= {(peer, protocol): server for peer, server in both.items()}
        servers["bare", protocol] = enter(peers.bare(protocol))
        servers["released", protocol] = enter(
            peers.released(bench.folder / f"throughput-{protocol}", INSTANT, protocol)
        )
    return {key: server for key, server in servers.items() if server is not None}


def _press(server: Server, protocol: str, keep: bool, clients: int, seconds: float) -> load.Press:
    asked = [(load.http_text if protocol == "http" else load.tcp_text)(pdu) for pdu in PDUS]
    press = load.Press(server.port, [itertools.cycle(asked[each::clients]) for each in range(clients)], keep=keep)
    press.run(seconds)
    return press


def _accepting(bench: Bench, name: str, protocol: str, keep: bool, clients: int, seconds: float) -> load.Press:
    """Press a daemon of its own, whose queues nobody has to wait for afterwards: kill -9, and look at the record."""
    slow = {pdu: {"driver": "dummy", "slow": 1} for pdu in PDUS}
    # As much history as there can be, else what has ended by then is forgotten, and not on record for that reason.
    with peers.ours(bench.folder / name, slow, wait=0, history=10_000_000) as server:
        first = _press(server, protocol, False, max(CLIENTS), 0.3)
        press = _press(server, protocol, keep, clients, seconds)
    said = sum(len(each.times) - each.refused for each in (first, press))
    with closing(sqlite3.connect(bench.folder / name / "store.db")) as store:
        (kept,) = store.execute("SELECT count(*) FROM request").fetchone()
    if kept < said:
        bench.fail(f"{name}: {said} requests were accepted, {kept} are on record")
    return press


def _drained(our: Server) -> float:
    """Wait until everything accepted is done, for a minute at most; return how long that took, in seconds."""
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < 60:
        with urllib.request.urlopen(f"http://127.0.0.1:{our.port}/api/v1/pdus", timeout=10) as answer:
            if not any(pdu["requests"] for pdu in json.load(answer)):
                break
        time.sleep(0.05)
    return waited
