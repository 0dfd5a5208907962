# SPDX-License-Identifier: MIT
"""An idle daemon: from the client's request to the command that acts, beside `subprocess.call` of the same command.

The command is the cheapest there is, a shell's `echo` into a FIFO; a thread that blocks on the FIFO takes the time.
All ways are asked in turn, 20 ms apart. A fresh connection is counted from before its opening.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from tests.bench import load, peers
from tests.bench.peers import Server
from tests.bench.report import Bench

CALL = "subprocess.call"
TIMES = "request to command, ms"


class Witness:
    """Takes the time at which something was written into a FIFO."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._file = os.open(path, os.O_RDWR)  # for writing as well, so that no writer ever waits
        self._seen: queue.SimpleQueue[float] = queue.SimpleQueue()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while os.read(self._file, 100):
            self._seen.put(time.monotonic())

    def time(self) -> float:
        """Return when the next command acted. Raises: queue.Empty if none does."""
        return self._seen.get(timeout=load.PATIENCE)


def measure(bench: Bench) -> None:
    """Ask every way in turn."""
    command = f"echo %s > {bench.folder / 'fifo'}"
    pdus = {"pdu": {"driver": "localcmdline", "cmd_on": command, "cmd_off": command}}
    witness = Witness(bench.folder / "fifo")
    with ExitStack() as stack:
        enter = stack.enter_context
        ways: dict[str, Callable[[], object]] = {CALL: partial(subprocess.call, command % 1, shell=True)}
        our = enter(peers.ours(bench.folder / "latency", pdus, wait=0))
        servers: list[tuple[str, Server | None, Server | None]] = [("ours", our, our)]
        theirs = [enter(peers.released(bench.folder / f"latency-{each}", pdus, each)) for each in ("http", "tcp")]
        servers.append(("released", theirs[0], theirs[1]))
        for peer, http, tcp in servers:
            if http is not None and tcp is not None:
                ways[f"{peer}, TCP"] = partial(fresh, tcp, load.tcp_text("pdu"))
                ways[f"{peer}, fresh HTTP"] = partial(fresh, http, load.http_text("pdu"))
                ways[f"{peer}, keep-alive HTTP"] = partial(
                    load.ask, enter(closing(http.connect())), load.http_text("pdu")
                )
        for _ in range(bench.rounds):
            take_turns(bench, TIMES, ways, witness.time)
    bench.table(list(ways), [TIMES], ("p50", "p99"))
    for way in [way for way in ways if way.startswith("ours")]:
        pairs = zip(bench.values[way, TIMES, "p50"], bench.values[CALL, TIMES, "p50"], strict=True)
        bench.judge(f"{way}: ms over {CALL}", [one - other for one, other in pairs], most=0.5)


def take_turns(
    bench: Bench, what: str, ways: dict[str, Callable[[], object]], now: Callable[[], float] = time.monotonic
) -> None:
    """Act in every way in turn for one round, the first time uncounted; ``now`` says when an act had its effect."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(31 if bench.quick else 101):
        for way, act in ways.items():
            begin = time.monotonic()
            act()
            took = now() - begin
            if turn:
                times[way].append(took)
            time.sleep(0.02)
    for way, each in times.items():
        bench.add_times(way, what, each)


def fresh(server: Server, text: bytes) -> bytes:
    """Ask on a connection of its own."""
    with server.connect() as connection:
        return load.ask(connection, text)
