# SPDX-License-Identifier: MIT
"""`Known`: what is known of one outlet, with where that comes from and when; and how it is told, in JSON.

One of them is never changed, so whoever has it may look at it without a lock, however long that takes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pdudaemon.config.model import Config
from pdudaemon.power import Outlet, State


class Known(NamedTuple):
    """What is known of an outlet: watts, volts, amps, and watt-hours as the device counts them; None: not known.

    ``source`` is that of `pdudaemon.power.Reading`: ``device``, ``commanded`` or ``none``. ``time`` is when the state
    became known, ``read`` when the device told the readings and the name (both in seconds since the epoch). ``shown``:
    the watts that those who watch were last told.
    """

    state: State = State.UNKNOWN
    source: str = "none"
    time: float | None = None
    name: str | None = None
    watts: float | None = None
    volts: float | None = None
    amps: float | None = None
    watt_hours: float | None = None
    read: float | None = None
    shown: float | None = None


NOTHING = Known()


def age(time: float | None, now: float) -> float | None:
    """Return how many seconds ago something was, None if it never was."""
    return None if time is None else round(max(0.0, now - time), 3)


def record(outlet: Outlet, known: Known, config: Config, now: float) -> dict[str, Any]:
    """Return what is known of an outlet as it is told to clients; ``now`` in seconds since the epoch."""
    lock = config.lock_of(outlet)
    return {
        "pdu": outlet.pdu,
        "port": outlet.port,
        "name": known.name,
        "nodes": config.nodes_of(outlet),
        "locked": bool(lock),
        "reason": lock or None,
        "state": known.state.value,
        "source": known.source,
        "time": known.time,
        "age": age(known.time, now),
        "watts": known.watts,
        "volts": known.volts,
        "amps": known.amps,
        "watt_hours": known.watt_hours,
        "readings_age": age(known.read, now),
    }
