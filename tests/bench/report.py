# SPDX-License-Identifier: MIT
"""What one run measured, over all rounds: tables of medians, and ratios against their targets.

A number never fails a run. What fails it is a request of ours that was not answered, or a server that crashed.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Bench:
    """One run, in a folder on the disk that the store uses. ``values`` has one a round, by (row, peer, metric).

    ``quick`` is for a look; ``long`` has no part scaled down. ``judged`` has a line for each target, and whether it was
    reached.
    """

    folder: Path
    quick: bool
    long: bool = False
    failures: list[str] = field(default_factory=list)
    judged: list[tuple[str, bool]] = field(default_factory=list)
    values: defaultdict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    def add(self, row: str, peer: str, **metrics: float) -> None:
        """Take in what one round measured."""
        for metric, value in metrics.items():
            self.values[row, peer, metric].append(value)

    def add_times(self, row: str, peer: str, seconds: Sequence[float]) -> None:
        """Take in the times of one round, as milliseconds."""
        cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else [float("nan")] * 99
        self.add(row, peer, p50=cuts[49] * 1000, p99=cuts[98] * 1000)

    def fail(self, text: str) -> None:
        """Note something that must not happen, whatever the machine."""
        print(f"FAILED: {text}", flush=True)
        self.failures.append(text)

    def table(self, rows: Sequence[str], peers: Sequence[str], metrics: Sequence[str]) -> None:
        """Print the medians over the rounds."""
        width = max(map(len, rows)) + 2
        cell = max(8, *(len(metric) + 2 for metric in metrics), *(len(peer) // len(metrics) + 2 for peer in peers))
        print(" " * width + "".join(f"{peer:>{cell * len(metrics)}}" for peer in peers))
        print(" " * width + "".join(f"{metric:>{cell}}" for _ in peers for metric in metrics))
        for row in rows:
            values = (self.values.get((row, peer, metric)) for peer in peers for metric in metrics)
            cells = ("-" if value is None else _written(statistics.median(value)) for value in values)
            print(f"{row:{width}}" + "".join(f"{each:>{cell}}" for each in cells))

    def ratios(self, row: str, metric: str, peer: str, other: str) -> list[float]:
        """Return the ratio of two peers in each round; none if one of them was not measured."""
        return _ratios(self.values[row, peer, metric], self.values[row, other, metric])

    def between(self, row: str, other: str, peer: str, metric: str) -> list[float]:
        """Return the ratio of two rows of one peer in each round."""
        return _ratios(self.values[row, peer, metric], self.values[other, peer, metric])

    def judge(self, what: str, values: Sequence[float], *, least: float = -math.inf, most: float = math.inf) -> None:
        """Hold the median against its target, and print the rounds beside it."""
        target = f">= {least:g}" if least > -math.inf else f"<= {most:g}"
        if not values:
            print(f"* {what:55} target {target:8} not measured")
            return
        good = least <= statistics.median(values) <= most
        rounds = f"{_written(statistics.median(values)):>8}  ({' '.join(map(_written, values))})"
        line = f"* {what:55} target {target:8} {rounds:32} {'OK' if good else 'MISSED'}"
        print(line, flush=True)
        self.judged.append((line, good))


def _ratios(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one / other if other else math.inf for one, other in zip(ones, others, strict=False)]


def _written(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    if value == round(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
