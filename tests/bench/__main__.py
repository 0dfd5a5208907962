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

from tests.bench import hung, latency, nodes, peers, snmp, start, throughput, transports
from tests.bench.report import Bench

MEASURES = {
    each.__name__.rpartition(".")[2]: each for each in (throughput, latency, snmp, transports, hung, nodes, start)
}


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, for a look")
    parser.add_argument("--only", choices=MEASURES, action="append", help="leave out the others")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # every server is stopped on the way out
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdudaemon-bench-") as folder:
        bench = Bench(Path(folder), options.quick)
        peers.released_program()
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; medians of {bench.rounds} round(s)")
        for name in options.only or MEASURES:
            print(f"\n== {name}: {(MEASURES[name].__doc__ or '').strip()}")
            print(f"fsync p50 {_fsync(bench.folder):.2f} ms, load {os.getloadavg()[0]:.1f}", flush=True)
            try:
                MEASURES[name].measure(bench)
            except (peers.Crashed, OSError, queue.Empty) as error:
                bench.fail(f"{name}: {type(error).__name__}: {error}")
    print(f"\n{time.monotonic() - begin:.0f} s; {bench.judged.count(True)} of {len(bench.judged)} targets reached")
    print(*bench.failures, sep="\n", end="")
    return 1 if bench.failures else 0


def _fsync(folder: Path) -> float:
    """Return how long it takes here to get a page on the disk itself: the median, in milliseconds."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(51):
            file.write(b"x" * 4096)
            begin = time.monotonic()
            os.fsync(file.fileno())
            times.append(time.monotonic() - begin)
    return sorted(times)[25] * 1000


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
