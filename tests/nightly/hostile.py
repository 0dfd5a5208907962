# SPDX-License-Identifier: MIT
"""Hostile inputs on every way in: ``python -m tests.nightly.hostile [WAY...]``.

Each must end in an answer, or in an error that names what is wrong; nothing may hang, crash, leave a traceback in the
log, or grow. What did is kept in ``dist/nightly``, to be given to its way again with ``--again``.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.nightly import inside, outside
from tests.nightly.way import Kind

KEPT = Path(__file__).parent.parent.parent / "dist" / "nightly"
MOST_FAILURES = 5
LONGEST = 60.0  # seconds for one input, and as many more as it has KB, for it may be 70,000 requests

WAYS: dict[str, tuple[Kind, int]] = {
    "text": (outside.text, 1),
    "http": (outside.http, 1),
    "json": (outside.json_bodies, 1),
    "tls": (outside.tls, 2),
    "mqtt": (outside.mqtt, 1),
    "ndjson": (outside.ndjson, 50),
    "tokens": (inside.tokens, 1),
    "conf": (inside.conf, 1),
    "conf.d": (inside.conf_d, 1),
    "groups": (inside.groups, 1),
    "topology": (inside.topology, 2),
    "store": (inside.store, 100),
    "devices": (inside.devices, 20),
}
"""How each way is tried, and the share of the number that it gets: the whole of it, or a half, …"""


def tried(name: str, count: int, seed: int) -> int:
    """Try a way; print the figures, return how many inputs have failed."""
    kind, share = WAYS[name]
    failures, fed, longest = 0, 0, 0.0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdudaemon-hostile-") as folder:
        try:
            with kind(Path(folder), random.Random(f"{name}{seed}")) as way:
                for fed in range(1, max(1, count // share) + 1):  # noqa: B007
                    data = way.draw()
                    at = time.monotonic()
                    try:
                        way.feed(data)
                        took = time.monotonic() - at
                        assert took < LONGEST + len(data) / 1000, f"took {took:.1f} s"
                    except Exception:  # of whatever kind: it is told, and the next has its turn
                        failures += 1
                        _keep(name, failures, data)
                        if failures == MOST_FAILURES:
                            break
                    longest = max(longest, time.monotonic() - at)
        except Exception:
            failures += 1
            print(f"{name}: after {fed} inputs:\n{traceback.format_exc()}", flush=True)
    took = time.monotonic() - begun
    print(f"* {name}: {fed} inputs, {failures} failed, {took:.0f} s, the longest {longest * 1000:.0f} ms", flush=True)
    return failures


def _keep(name: str, number: int, data: bytes) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"hostile-{name}-{number}"
    path.write_bytes(data)
    print(f"{name}: {path}: {data[:200]!r}\n{traceback.format_exc()}", flush=True)


def again(name: str, path: Path) -> None:
    """Give a way one input that was kept. Raises: what comes of it."""
    with tempfile.TemporaryDirectory() as folder, WAYS[name][0](Path(folder), random.Random(0)) as way:
        way.feed(path.read_bytes())


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.hostile", epilog=f"Ways: {', '.join(WAYS)}.")
    parser.add_argument("ways", nargs="*", metavar="WAY", default=[], help="try these alone")
    parser.add_argument("--count", type=int, default=1000, help="inputs on each way (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which chance (%(default)s)")
    parser.add_argument("--again", type=Path, help="a file with one input, for one way")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if given.again:
        again(given.ways[0], given.again)
        return 0
    return int(sum(tried(name, given.count, given.seed) for name in given.ways or WAYS) > 0)


if __name__ == "__main__":
    sys.exit(main())
