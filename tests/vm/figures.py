# SPDX-License-Identifier: MIT
"""What the rounds of `tests.vm.test_ha` have cost, as a table, and whether outlets did what was acknowledged, once."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any, NamedTuple

ACTS = {"on": ["on"], "off": ["off"], "reboot": ["off", "on"]}


class Round(NamedTuple):
    """What a hurt has cost, in seconds: for how long nobody answered, and how much later than asked for a board was on."""

    hurt: str
    silent: float
    late: float


def table(rounds: list[Round]) -> list[str]:
    """Return the lines of a table: each kind of hurt, and all of them."""
    names = list(dict.fromkeys(each.hurt for each in rounds))
    heads = "".join(f"{word:>8}" for word in ("min", "median", "p99", "max"))
    lines = [f"{'':14} rounds  silent:{heads}   late:{heads}   (seconds)"]
    for name in [*names, "all"]:
        chosen = [each for each in rounds if name in (each.hurt, "all")]
        silent, late = (_figures([each[place] for each in chosen]) for place in (1, 2))
        lines.append(f"{name:14} {len(chosen):6}         {silent}         {late}")
    return lines


def _figures(values: list[float]) -> str:
    ordered = sorted(values)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return "".join(f"{value:8.1f}" for value in (ordered[0], statistics.median(ordered), p99, ordered[-1]))


def done_again(asked: list[str], acted: list[str]) -> int:
    """Return how many acts at an outlet were repeated: what a node was at when it was hurt, the other does again.

    ``asked``: the actions of requests that were done, in order. Raises: AssertionError, if the outlet did anything else
    than these: nothing is left out, and none of them done twice, such as a reboot.
    """
    wanted = [word for action in asked for word in ACTS[action]]
    changes = [word for word, _ in itertools.groupby(wanted)]
    seen = [word for word, _ in itertools.groupby(acted)]
    assert seen == changes, f"wanted {changes}, seen {seen}"
    assert len(acted) >= len(wanted), f"{len(wanted)} acts were wanted, {len(acted)} seen"
    return len(acted) - len(wanted)


def by_port(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the records of requests by the one outlet of each, in the order in which they were accepted."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda each: int(each["id"])):
        (outlet,) = record["outlets"]
        found.setdefault(outlet["port"], []).append(record)
    return found
