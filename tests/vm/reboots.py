# SPDX-License-Identifier: MIT
"""The board that is rebooted while the daemon of `tests.vm.cluster` is hurt, and what has to be true of it afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from tests.vm.cluster import Cluster, Node, until
from tests.vm.load import Told, ask, insist
from tests.vm.outlets import Outlets

SEED = int(os.environ.get("HA_SEED") or time.time())
BOARD = "1"
DELAY = 4.0  # seconds between the halves of a reboot


def check_board(outlets: Outlets, since: float) -> float:
    """See that a reboot went off, on, and not too soon; return by how much it was late."""
    acts = outlets.of(BOARD, since)
    words = [act.word for act in acts]
    assert words and words == sorted(words), f"first off, then on: {acts}"
    off = [act for act in acts if act.word == "off"][-1]
    on = next(act for act in acts if act.word == "on")
    assert on.begun - off.ended >= DELAY - 0.01, f"on too soon: {acts}"
    return on.ended - off.ended - DELAY


def check_told(told: list[Told]) -> list[dict[str, Any]]:
    """See that everything that was acknowledged is there, and became what was said, or was to become; return it."""
    records = []
    for each in told:
        status, record = ask("GET", f"/api/v1/requests/{each.number}")
        assert status == 200 and record["action"] == each.action, (each, record)
        assert each.port == record["outlets"][0]["port"], (each, record)
        if each.status in (200, 201, 202):
            assert record["state"] == "done", (each, record)
        records.append(record)
    assert len({record["id"] for record in records}) == len(told)
    return records


def rebooting(cluster: Cluster, outlets: Outlets, name: str, delay: float = DELAY) -> tuple[Node, float, Told]:
    """Begin to reboot the board; return who does it, when it began, and what was told, once the board is off."""
    active = cluster.active()
    assert active is not None
    begin = time.monotonic()
    told = insist(f"{SEED}-{name}", "reboot", BOARD, 0.0, delay=delay)
    until(lambda: outlets.of(BOARD, begin), what="the board is off")
    return active, begin, told


def is_on(outlets: Outlets, begin: float) -> Callable[[], bool]:
    """Return what tells whether the board is on again."""
    return lambda: outlets.of(BOARD, begin)[-1].word == "on"
