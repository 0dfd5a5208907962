# SPDX-License-Identifier: MIT
"""1,000 PDUs with 24 outlets each, all with names and watts: a scrape and a page's list, and what others get meanwhile.

Four clients ask for 128 of the PDUs and are answered when their requests are committed (`wait: 0`), while nobody looks,
and while another process scrapes `/metrics` every `SCRAPE` seconds, as Prometheus does three times as seldom, and gets
the list and one PDU every second, as a page does. What is looked at is read behind that every 30 s, too, and what was
switched every 5 s. `core`: what the daemon takes of one, in the same two ways, while each client asks `PACE` times a
second; what looks take of it is what accepts cannot have.
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import time
from contextlib import nullcontext

from tests.bench import load, peers
from tests.bench.report import Bench

PDUS, OUTLETS = 1000, 24
CLIENTS = 4
SCRAPE, LOOK = 5.0, 1.0
PACE = 100
ALONE, WATCHED = "nobody looks", "a scrape and looks"
PATHS = {"scrape": "/metrics", "list": "/api/v1/pdus", "one PDU": "/api/v1/pdus/pdu0500"}


def measure(bench: Bench) -> None:
    """Have all PDUs be read, time each look, then press with and without them."""
    told = {
        "names": {str(port): f"board-{port:02}" for port in range(1, OUTLETS + 1)},
        "watts": {str(port): 10.5 * port for port in range(1, OUTLETS + 1)},
    }
    pdus = {f"pdu{number:04}": {"driver": "dummy", "outlets": OUTLETS, **told} for number in range(PDUS)}
    asked = [load.http_text(f"pdu{number:04}") for number in range(128)]
    seconds = SCRAPE if bench.quick else 3 * SCRAPE
    for round_ in range(bench.rounds):
        with peers.ours(bench.folder / f"inventory-{round_}", pdus, wait=0, max_queue=1_000_000) as our:
            before = our.resident
            begun = time.monotonic()
            _have_read(our.port)
            bench.add("all read", "ours", ms=(time.monotonic() - begun) * 1000, MiB=our.resident - before)
            for row, path in PATHS.items():
                before = our.resident
                times = []
                for _ in range(5):
                    begun = time.monotonic()
                    size = len(_got(our.port, path))
                    times.append(time.monotonic() - begun)
                bench.add(row, "ours", ms=sorted(times)[2] * 1000, KiB=size / 1024, MiB=our.resident - before)
            for row, pace in (("", 0), *itertools.product((ALONE, WATCHED), (0, PACE))):  # once for the threads
                texts = [itertools.cycle(asked[client::CLIENTS]) for client in range(CLIENTS)]
                press = load.Press(our.port, texts, keep=True, every=1 / pace if pace else 0.0)
                watcher = [sys.executable, "-m", "tests.bench.inventory", str(our.port)]
                used = our.cpu
                with peers.process(watcher) if row == WATCHED else nullcontext():
                    press.run(seconds if row else 0.3)
                if row and pace:
                    bench.add(row, "ours", core=(our.cpu - used) / seconds)
                elif row:
                    bench.add(row, "ours", per_s=press.accepted / seconds)
                if press.lost:
                    bench.fail(f"{press.lost} requests of ours were not answered")
    bench.table(["all read", *PATHS, ALONE, WATCHED], ["ours"], ["ms", "KiB", "MiB", "per_s", "core"])
    bench.judge(f"accepted, {WATCHED} per {ALONE}", bench.between(WATCHED, ALONE, "ours", "per_s"), least=0.9)
    alone, watched = bench.values[ALONE, "ours", "core"], bench.values[WATCHED, "ours", "core"]
    more = [each - other for each, other in zip(watched, alone, strict=True)]
    bench.judge(f"of a core, {WATCHED} beyond {ALONE}", more, most=0.1)


def _have_read(port: int) -> None:
    while any(pdu["age"] is None for pdu in json.loads(_got(port, PATHS["list"]))):
        time.sleep(0.1)


def _got(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise OSError(f"{path}: {answer.status}")
    return body


def watch(port: int) -> None:
    """Scrape and look for ever."""
    scraped = 0.0
    while True:
        if time.monotonic() - scraped >= SCRAPE:
            scraped = time.monotonic()
            _got(port, PATHS["scrape"])
        _got(port, PATHS["list"])
        _got(port, PATHS["one PDU"])
        time.sleep(LOOK)


if __name__ == "__main__":
    watch(int(sys.argv[1]))
