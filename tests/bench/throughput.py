# SPDX-License-Identifier: MIT
"""Accepted requests per second, and times in ms, with 128 PDUs asked in turn.

`ours` answers when the request is committed (`wait: 0`) while its workers switch devices that take no time, so that
accepting and working compete; `accepting` is the same with devices that take a second. The released daemon answers when
the job is done, by the devices that take no time, and keeps nothing. All log at INFO to a file. Ours serves both
protocols on one port.
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from contextlib import ExitStack

from tests.bench import load, peers
from tests.bench.peers import Server
from tests.bench.report import Bench

WAYS = {"fresh HTTP": ("http", False), "keep-alive HTTP": ("http", True), "TCP": ("tcp", False)}
CLIENTS = (1, 16, 128)
OURS = ("ours", "accepting")
PEERS = (*OURS, "bare", "released")
PDUS = [f"pdu{number}" for number in range(128)]


def measure(bench: Bench) -> None:
    """Press each server in turn, round by round."""
    instant = {pdu: {"driver": "instant"} for pdu in PDUS}
    lost = dict.fromkeys(PEERS, 0)
    refused = dict.fromkeys(PEERS, 0)
    cpu = drained = 0.0
    with ExitStack() as stack:
        enter = stack.enter_context
        our = enter(peers.ours(bench.folder / "throughput", instant, wait=0))
        servers = {("ours", protocol): our for protocol in ("http", "tcp")}
        for protocol in ("http", "tcp"):
            servers["bare", protocol] = enter(peers.bare(protocol))
            if theirs := enter(peers.released(bench.folder / f"throughput-{protocol}", instant, protocol)):
                servers["released", protocol] = theirs
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
                drained = max(drained, _drained(our))
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
    for peer in OURS:
        if lost[peer]:
            bench.fail(f"{lost[peer]} requests of ours were not answered ({peer})")
        for row in [row for row in rows if not row.endswith(" 1")]:
            bench.judge(f"{row}: {peer} per released", bench.ratios(row, "per_s", peer, "released"), least=1)
        for row in ("keep-alive HTTP, 16", "keep-alive HTTP, 128"):
            bench.judge(f"{row}: {peer} per bare", bench.ratios(row, "per_s", peer, "bare"), least=0.5)
        for row in [row for row in rows if row.endswith(" 128")]:
            bench.judge(f"{row}: p99, {peer} per bare", bench.ratios(row, "p99", peer, "bare"), most=1)


def _press(server: Server, protocol: str, keep: bool, clients: int, seconds: float) -> load.Press:
    asked = [(load.http_text if protocol == "http" else load.tcp_text)(pdu) for pdu in PDUS]
    press = load.Press(server.port, [itertools.cycle(asked[each::clients]) for each in range(clients)], keep=keep)
    press.run(seconds)
    return press


def _accepting(bench: Bench, name: str, protocol: str, keep: bool, clients: int, seconds: float) -> load.Press:
    """Press a daemon of its own, whose queues nobody has to wait for afterwards."""
    slow = {pdu: {"driver": "dummy", "slow": 1} for pdu in PDUS}
    with peers.ours(bench.folder / name, slow, wait=0) as server:
        _press(server, protocol, False, max(CLIENTS), 0.3)
        return _press(server, protocol, keep, clients, seconds)


def _drained(our: Server) -> float:
    """Wait until everything accepted is done, for a minute at most; return how long that took, in seconds."""
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < 60:
        with urllib.request.urlopen(f"http://127.0.0.1:{our.port}/api/v1/pdus", timeout=10) as answer:
            if not any(pdu["requests"] for pdu in json.load(answer)):
                break
        time.sleep(0.05)
    return waited
