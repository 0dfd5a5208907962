# SPDX-License-Identifier: MIT
"""What the daemon's memory does over many requests: from a tenth of them on it is to stay as it is.

`BENCH=long` has 1,000,000, else it is 200,000; a hundredth of them is remembered. 16 keep-alive clients wait for each
result. The environment is that of the unit: glibc keeps, for each thread, what that has freed, and a heap, which grows
for hours.
"""

from __future__ import annotations

import itertools

from tests.bench import load, peers
from tests.bench.report import Bench

CLIENTS = 16
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"}


def measure(bench: Bench) -> None:
    """Press on, and look ten times."""
    count = 1_000_000 if bench.long else 20_000 if bench.quick else 200_000
    names = [f"pdu{number}" for number in range(128)]
    asked = [load.http_text(name) for name in names]
    answered, samples = 0, list[float]()
    pdus = {name: {"driver": "instant"} for name in names}
    with peers.ours(bench.folder / "memory", pdus, environment=ENVIRONMENT, history=count // 100) as our:
        while answered < count:
            press = load.Press(our.port, [itertools.cycle(asked[each::CLIENTS]) for each in range(CLIENTS)], keep=True)
            press.run(1.0)
            answered += len(press.times)
            if press.lost:
                bench.fail(f"{press.lost} requests of ours were not answered")
                break
            if answered >= (len(samples) + 1) * count / 10:
                samples.append(our.resident)
    print(f"resident after each tenth of {count}, MiB: {' '.join(f'{each:.2f}' for each in samples)}")
    if samples:
        bench.judge(f"{count} requests: from the first tenth on, MiB more", [max(samples) - samples[0]], most=1)
