# SPDX-License-Identifier: MIT
"""An idle daemon: from the client's request until its driver is called, beside a bare hand-over from one thread to
another and back by `queue.Queue`.

The driver says itself when that was. All ways are asked in turn, 20 ms apart, so that none is warmer than the others. A
fresh connection is counted from before its opening.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from tests.bench import load, peers
from tests.bench.latency import fresh, take_turns
from tests.bench.report import Bench

TIMES = "request to driver, ms"
BARE = "queue, there and back"


class HandOver:
    """A thread that gives back whatever it is given."""

    def __init__(self) -> None:
        self._there: queue.Queue[bool] = queue.Queue()
        self._back: queue.Queue[bool] = queue.Queue()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self._there.get():
            self._back.put(True)

    def there_and_back(self) -> None:
        """Give, and wait until it comes back."""
        self._there.put(True)
        self._back.get()

    def close(self) -> None:
        """End the thread."""
        self._there.put(False)
        self._thread.join()


class Stamps:
    """A FIFO into which each way writes when it was where it had to be."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR)  # for writing as well, so that no writer ever waits

    def write(self) -> None:
        """Say that it is now."""
        os.write(self._descriptor, b"%r\n" % time.monotonic())

    def read(self) -> float:
        """Return the next time. Raises: TimeoutError if there is none."""
        if not select.select([self._descriptor], [], [], load.PATIENCE)[0]:
            raise TimeoutError("no driver was called")
        return float(os.read(self._descriptor, 100))

    def close(self) -> None:
        """Let go of the FIFO."""
        os.close(self._descriptor)


def measure(bench: Bench) -> None:
    """Ask every way in turn."""
    path = bench.folder / "stamps"
    pdus = {"pdu": {"driver": "stamp", "file": str(path)}}
    with ExitStack() as stack:
        enter = stack.enter_context
        stamps = enter(closing(Stamps(path)))
        thread = enter(closing(HandOver()))

        def hand_over() -> None:
            thread.there_and_back()
            stamps.write()

        ways: dict[str, Callable[[], object]] = {BARE: hand_over}
        servers = {
            "ours": enter(peers.ours(bench.folder / "idle", pdus)),
            "before": enter(peers.before(bench.folder / "idle-before", pdus)),
            "released": enter(peers.released(bench.folder / "idle-released", pdus, "http")),
        }
        for peer, server in servers.items():
            if server is not None:
                connection = enter(closing(server.connect()))
                ways[f"{peer}, keep-alive HTTP"] = partial(load.ask, connection, load.http_text("pdu"))
                if peer != "released":
                    ways[f"{peer}, TCP"] = partial(fresh, server, load.tcp_text("pdu"))
        for _ in range(bench.rounds):
            take_turns(bench, TIMES, ways, stamps.read)
    bench.table(list(ways), [TIMES], ("p50", "p99"))
    for way in [way for way in ways if way.startswith("ours")]:
        bench.judge(f"{way}: p50 per {BARE}", bench.between(way, BARE, TIMES, "p50"), most=3)
