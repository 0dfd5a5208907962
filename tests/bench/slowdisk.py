# SPDX-License-Identifier: MIT
"""A disk that takes 500 ms to be sure, as an SD card may: what others feel while one client reboots.

Each reboot waits until its debt is on the disk; nothing else has to. What slows the disk is a library loaded in front of
the C library, made by `cc`, or else `strace`. Eight clients ask for other PDUs meanwhile, each 50 times a second, which
is often enough for SQLite to write its log back.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench import load, peers
from tests.bench.peers import Server
from tests.bench.report import Bench

DELAY = 0.5
EVERY = 0.02
CLIENTS = 8
OTHERS = "the others, ms"
REBOOT = "reboots, ms"
PEERS = ("ours", "before")
LIBRARY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static int slowly(const char *name, int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    usleep(DELAY);
    return real(descriptor);
}
int fsync(int descriptor) { return slowly("fsync", descriptor); }
int fdatasync(int descriptor) { return slowly("fdatasync", descriptor); }
"""


def measure(bench: Bench) -> None:
    """Press both daemons in turn, each on a slow disk, while it reboots something."""
    slow = slowed(bench.folder)
    if not slow:
        print("skipped: neither cc nor strace is installed")
        return
    pdus = {f"pdu{number}": {"driver": "instant"} for number in range(65)}
    asked = [load.http_text(f"pdu{number}") for number in range(64)]
    with ExitStack() as stack:
        servers: dict[str, Server | None] = {
            "ours": stack.enter_context(peers.ours(bench.folder / "slowdisk", pdus, **slow)),
            "before": stack.enter_context(peers.before(bench.folder / "slowdisk-before", pdus, **slow)),
        }
        for _, (peer, server) in itertools.product(range(bench.rounds), servers.items()):
            if server is None:
                continue
            press = load.Press(
                server.port,
                [itertools.cycle(asked[client::CLIENTS]) for client in range(CLIENTS)],
                keep=True,
                every=EVERY,
            )
            with rebooting(server, "pdu64") as reboots:
                press.run(3.0 if bench.quick else 6.0)
            bench.add_times(OTHERS, peer, press.times)
            bench.add_times(REBOOT, peer, reboots)
            if peer == "ours" and press.lost:
                bench.fail(f"{press.lost} requests of ours were not answered")
    bench.table([OTHERS, REBOOT], PEERS, ("p50", "p99"))
    bench.judge("p99 of the others, ms", bench.values[OTHERS, "ours", "p99"], most=50)
    bench.judge("p50 of the reboots, ms", bench.values[REBOOT, "ours", "p50"], least=DELAY * 1000)


def slowed(folder: Path) -> dict[str, Any]:
    """Return how `peers.ours` is to run a daemon for which fsync is slow; nothing if there is no way here."""
    if compiler := shutil.which("cc"):
        source, library = folder / "slowdisk.c", folder / "slowdisk.so"
        source.write_text(LIBRARY)
        define = f"-DDELAY={DELAY * 1e6:.0f}"
        subprocess.run([compiler, "-shared", "-fPIC", define, "-o", library, source, "-ldl"], check=True)
        return {"environment": {"LD_PRELOAD": str(library)}}
    if tracer := shutil.which("strace"):
        # -D: the daemon, not strace, is the process that is stopped at the end.
        inject = f"inject=fsync,fdatasync:delay_enter={DELAY * 1e6:.0f}"
        return {"under": [tracer, "-D", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "-e", inject]}
    return {}


@contextmanager
def rebooting(server: Server, pdu: str) -> Iterator[list[float]]:
    """Reboot a PDU again and again meanwhile; yield the list to which the time of each, in seconds, is added."""
    times: list[float] = []
    over = threading.Event()

    def reboot() -> None:
        with server.connect() as connection:
            while not over.is_set():
                begin = time.monotonic()
                load.ask(connection, load.http_get(f"/power/control/reboot?hostname={pdu}&port=1&delay=0"))
                times.append(time.monotonic() - begin)

    thread = threading.Thread(target=reboot)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()
