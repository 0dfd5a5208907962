# SPDX-License-Identifier: MIT
"""An Aviosys IP Power 9258 with eight outlets: one SNMP object for each, 1 on and 0 off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices import cyberpower
from tests.devices.base.device import Case, Mood

NAMES = ["ip9258"]
MOODS = cyberpower.MOODS


class IP9258(cyberpower.Outlets):
    """What is SET is what is read."""

    command = state = {f"1.3.6.1.4.1.92.58.2.{n}.0": str(n) for n in range(1, 9)}
    values = {1: "on", 0: "off"}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run an agent."""
    with cyberpower.running(IP9258(mood), name) as made:
        yield made
