# SPDX-License-Identifier: MIT
"""What is known of an outlet (`Known`) and of a PDU (`KnownPDU`), where that comes from, and how it is told, in JSON.

A `Known` is never changed, so whoever has one may look at it without a lock, however long that takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pdudaemon.config.model import Config
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.engine.trail import Trail
from pdudaemon.power import Outlet, State

LEAST_CHANGE, LEAST_SHARE = 1.0, 0.05  # of watts, for them to be worth an event


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


class Found(NamedTuple):
    """What a device told of itself when it was asked for all of it; ``identity`` None: it was not asked."""

    outlets: list[OutletReading]
    inlets: list[InletReading]
    identity: Identity | None = None


class KnownPDU:
    """What is known of a PDU. ``outlets`` by port: those that the device told, in its order, then any others.

    ``read``: when the device was last read as a whole (seconds since the epoch). ``reachable``: whether the last
    exchange with it was one; None: there was none yet. ``trouble`` says why not. ``watts``: what the whole draws, as
    its inlets say, or else its outlets together.

    ``tried`` and ``switched``: when it was last asked for all, and when one of its outlets was last switched (the
    machine's uptime). ``failures``: how many times in a row it could not be read. ``gone``: the log says that it does
    not answer, and not yet that it does.
    """

    def __init__(self, outlets: dict[str, Known]) -> None:
        self.outlets = outlets
        self.inlets: tuple[InletReading, ...] = ()
        self.identity: Identity | None = None
        self.read: float | None = None
        self.reachable: bool | None = None
        self.trouble = ""
        self.tried: float | None = None
        self.switched = float("-inf")
        self.failures = 0
        self.gone = False
        self.watts: float | None = None
        self.trails: dict[str, Trail] = {}  # by port; of the whole by an empty one
        self.cut = False  # whether it was said that the device tells of too much

    def called(self, name: str) -> list[str]:
        """Return the ports of the outlets that have a name."""
        return [port for port, known in [*self.outlets.items()] if known.name == name]


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


def drawn(inlets: Sequence[InletReading], outlets: Sequence[OutletReading]) -> float | None:
    """Return what a whole PDU draws; None: not known. The kinds of inlets overlap: one of them counts."""
    for kind in ("pdu", "inlet", "phase", "bank"):
        if told := [inlet.watts for inlet in inlets if inlet.kind == kind and inlet.watts is not None]:
            return round(sum(told), 3)
    drawn = [outlet.watts for outlet in outlets if outlet.watts is not None]
    return round(sum(drawn), 3) if drawn else None


def merged(before: Known, reading: OutletReading, when: float) -> Known:
    state = (before.state, before.source, before.time)
    if reading.state is not None:
        state = (reading.state, "device", when)
    return Known(
        *state, reading.name, reading.watts, reading.volts, reading.amps, reading.watt_hours, when, before.shown
    )


def is_news(before: Known, now: Known) -> bool:
    """Whether what is known of an outlet differs so much that those who watch are to hear of it."""
    if (before.state, before.source, before.name) != (now.state, now.source, now.name):
        return True
    if before.shown is None or now.watts is None:
        return now.watts is not before.shown
    return abs(now.watts - before.shown) >= max(LEAST_CHANGE, LEAST_SHARE * max(now.watts, before.shown))
