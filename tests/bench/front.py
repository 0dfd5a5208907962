# SPDX-License-Identifier: MIT
"""What it costs to ask a site by way of a front, and what requests to other sites feel of one that hangs.

An idle site, asked directly and by a front, in turn. Then two fronts of three sites each, pressed in turn by 8
keep-alive clients that ask for PDUs of two of them: in one, the third has been stopped, and 16 clients wait for it.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from contextlib import ExitStack, closing
from functools import partial

from tests.bench import load, peers
from tests.bench.latency import take_turns
from tests.bench.peers import Server
from tests.bench.report import Bench

ONE = "one request, ms"
MANY = "8 clients, ms"
OTHERS = "the other two sites, ms"
WAYS = ("direct", "by a front")
FRONTS = ("one hung", "all well")
CLIENTS = 8


def measure(bench: Bench) -> None:
    """Ask every way in turn."""
    pdus: dict[str, dict[str, object]] = {f"pdu{number}": {"driver": "instant"} for number in range(CLIENTS)}
    with ExitStack() as stack:
        enter = stack.enter_context
        site = enter(peers.ours(bench.folder / "front-site", pdus))
        front = enter(peers.ours(bench.folder / "front", {}, sites={"a": site}))
        reached(front, "a/pdu0")
        asked = {"direct": (site, ""), "by a front": (front, "a/")}
        ways = {
            way: partial(load.ask, enter(closing(server.connect())), load.http_text(f"{before}pdu0"))
            for way, (server, before) in asked.items()
        }
        for _ in range(bench.rounds):
            take_turns(bench, ONE, ways)
            press(bench, MANY, {way: (server, [before]) for way, (server, before) in asked.items()})
    bench.table([*WAYS], [ONE], ("p50", "p99"))
    bench.table([MANY], WAYS, ("p50", "p99"))
    pairs = zip(bench.values["by a front", ONE, "p50"], bench.values["direct", ONE, "p50"], strict=True)
    bench.judge("ms that a front costs", [one - other for one, other in pairs], most=1.5)
    for round_ in range(bench.rounds):
        _one_hung(bench, pdus, round_)
    bench.table([OTHERS], FRONTS, ("p50", "p99"))
    bench.judge("p99, one hung per all well", bench.ratios(OTHERS, "p99", *FRONTS), most=1.1)


def _one_hung(bench: Bench, pdus: dict[str, dict[str, object]], round_: int) -> None:
    with ExitStack() as stack:
        enter = stack.enter_context
        fronts: dict[str, tuple[Server, list[str]]] = {}
        for each in FRONTS:
            folder = bench.folder / f"front-{each}-{round_}"
            folder.mkdir()
            sites = {name: enter(peers.ours(folder / name, pdus)) for name in "abc"}
            front = enter(peers.ours(folder / "front", {}, sites=sites))
            for name in sites:
                reached(front, f"{name}/pdu0")
            fronts[each] = front, ["a/", "b/"]
            if each == "one hung":
                os.kill(sites["c"].pid, signal.SIGSTOP)
                stack.callback(os.kill, sites["c"].pid, signal.SIGCONT)
            for _ in range(16):
                enter(closing(front.connect())).sendall(load.http_text("c/pdu0"))
        time.sleep(0.5)
        press(bench, OTHERS, fronts)


def press(bench: Bench, row: str, asked: dict[str, tuple[Server, list[str]]]) -> None:
    """Press servers in turn for PDUs with one of some beginnings before their names."""
    times: dict[str, list[float]] = {peer: [] for peer in asked}
    for _, peer in itertools.product(range(2 if bench.quick else 8), asked):
        server, befores = asked[peer]
        texts = [
            itertools.cycle([load.http_text(f"{befores[client % len(befores)]}pdu{client}")])
            for client in range(CLIENTS)
        ]
        pressed = load.Press(server.port, texts, keep=True)
        pressed.run(0.7)
        times[peer] += pressed.times
        if pressed.lost or pressed.refused:
            bench.fail(f"{peer}: {pressed.lost} requests not answered, {pressed.refused} refused")
    for peer, each in times.items():
        bench.add_times(row, peer, each)


def reached(front: Server, pdu: str) -> None:
    """Wait until a front knows a PDU of a site, and has had it switched."""
    give_up = time.monotonic() + load.PATIENCE
    with front.connect() as connection:
        while not load.accepted(load.ask(connection, load.http_text(pdu))):
            assert time.monotonic() < give_up, f"{pdu} is not known"
            time.sleep(0.05)
