# SPDX-License-Identifier: MIT
"""``make bench``: the daemon against its peers, side by side in one run.

The exit code is 0 whatever the figures, and 1 if a request of ours was not answered or a server crashed.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import (
    badclients,
    cluster,
    cost,
    front,
    history,
    hung,
    idle,
    instantnodes,
    inventory,
    ipmi,
    lasttold,
    latency,
    machine,
    memory,
    nodes,
    peers,
    polling,
    readings,
    slowdisk,
    snmp,
    start,
    throughput,
    trace,
    transports,
    waiting,
    watchers,
)
from tests.bench.report import Bench

PARTS = {
    each.__name__.rpartition(".")[2]: each
    for each in (
        throughput,
        idle,
        cost,
        slowdisk,
        lasttold,
        history,
        polling,
        badclients,
        hung,
        front,
        instantnodes,
        ipmi,
        cluster,
        nodes,
        start,
        memory,
        waiting,
        watchers,
        latency,
        snmp,
        readings,
        inventory,
        transports,
        trace,
    )
}


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, epilog=f"Parts: {', '.join(PARTS)}."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="run these alone")
    parser.add_argument("--quick", action="store_true", help="one short round, for a look")
    parser.add_argument(
        "--long",
        action="store_true",
        default=os.environ.get("BENCH") == "long",
        help="a million requests, a hundred thousand clients (also: BENCH=long)",
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # every server is stopped on the way out
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdudaemon-bench-") as folder:
        bench = Bench(Path(folder), options.quick, options.long)
        peers.released_program()
        peers.earlier_source()
        print(f"{machine.described()}; medians of {bench.rounds} round(s)")
        for name in options.parts or PARTS:
            print(f"\n== {name}: {(PARTS[name].__doc__ or '').strip()}")
            print(f"[{machine.state(bench.folder)}]", flush=True)
            try:
                PARTS[name].measure(bench)
            except (peers.Crashed, OSError, queue.Empty) as error:
                bench.fail(f"{name}: {type(error).__name__}: {error}")
        print(f"\n[{machine.state(bench.folder)}]")
    missed = [line for line, good in bench.judged if not good]
    print(
        f"* {time.monotonic() - begin:.0f} s; {len(bench.judged) - len(missed)} of {len(bench.judged)} targets reached"
    )
    print(*missed, *bench.failures, sep="\n")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
