# SPDX-License-Identifier: MIT
"""Finds the row that a device fits: by its sysObjectID, the longest prefix first, and by whether it has the outlets.

Makers share numbers and models share trees, so a sysObjectID alone decides nothing: sysDescr must match where a row
says so, and the objects of the row must be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from pdudaemon.drivers.snmprow import OutletRow
from pdudaemon.errors import PermanentError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmp import Agent

SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"
_LONGEST_SHOWN = 60


class System(NamedTuple):
    """How a device introduces itself: sysObjectID, without a dot before it, empty if it has none; and sysDescr."""

    object_id: str
    descr: str

    def __str__(self) -> str:
        descr = " ".join(self.descr.split())[:_LONGEST_SHOWN]
        return f"sysObjectID {self.object_id or 'empty'}, sysDescr {descr!r}"


class Fitting(NamedTuple):
    """A row that fits, with the word that a configuration has for it."""

    word: str
    row: OutletRow


def introduced(agent: Agent, deadline: Deadline) -> System:
    """Ask a device how it introduces itself. Raises: as `Agent.values`."""
    descr, object_id = agent.values([SYS_DESCR, SYS_OBJECT_ID], deadline)
    identity = str(object_id or "").strip(".")
    return System("" if identity in ("0", "0.0") else identity, str(descr or ""))


def fitting(
    rows: Iterable[tuple[str, OutletRow]], agent: Agent, deadline: Deadline, system: System | None = None
) -> Fitting:
    """Return the row that a device fits, of those given by their words; one of several variants is one by itself.

    Raises: PermanentError if none does; as `Agent.columns`.
    """
    system = system or introduced(agent, deadline)
    found = [each for word, row in rows for each in _matching(word, row, system)]
    for _, fits in sorted(found, key=lambda each: -each[0]):
        if fits.row.probe and agent.values([fits.row.whole(fits.row.probe)], deadline) == [None]:
            continue
        row = fits.row
        scaled = [each.oid for _, each in row.meter.quantities()]
        templates = [each for each in (row.tells if row.readable() else "", *row.names, *scaled) if each]
        if any(agent.columns([row.column(each) for each in templates if "{" in each], deadline, row.bulk)) or any(
            value is not None for value in agent.values([row.whole(e) for e in templates if "{" not in e], deadline)
        ):
            return fits
    raise PermanentError(f"{agent}: no driver is known for its outlets ({system})")


def _matching(word: str, row: OutletRow, system: System) -> Iterator[tuple[int, Fitting]]:
    """Yield how much of a sysObjectID a row has, and the row as it is on that device."""
    for variant in row.variants or (row,):
        for prefix, descr in variant.systems.items():
            exact, identity = prefix.startswith("="), prefix.removeprefix("=")
            same = system.object_id == identity
            below = not exact and f"{system.object_id}.".startswith(f"{identity}.")
            if (same or below) and re.search(descr, system.descr, re.IGNORECASE):
                base = variant.base.replace("{m}", system.object_id.rpartition(".")[2])
                yield len(identity.split(".")), Fitting(word, replace(variant, base=base))
