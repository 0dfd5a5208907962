# SPDX-License-Identifier: MIT
"""What a device tells of its outlets, of its inlets and of itself.

Units are the same everywhere: watts (active power), volts and amps (effective values), watt-hours (counted since the
device began to count). What a device does not tell is None, never 0: a lamp that is off draws 0 W, an outlet without a
meter draws nobody knows what.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from pdudaemon.power import State

_LONGEST_LABEL = 100

InletKind = Literal["pdu", "inlet", "phase", "bank"]


@dataclass(frozen=True, slots=True)
class OutletReading:
    """An outlet as the device tells of it.

    ``port`` is canonical: what `PDUDriver.canonical_port` returns for it. ``name`` is what the device calls it, None if
    it has no name; ``state`` is None where the device cannot tell it, `State.UNKNOWN` where it could and does not.
    """

    port: str
    name: str | None = None
    state: State | None = None
    watts: float | None = None
    volts: float | None = None
    amps: float | None = None
    watt_hours: float | None = None


@dataclass(frozen=True, slots=True)
class InletReading:
    """What comes in: of the whole ``pdu``, of one of several ``inlet``s, or of a ``phase`` or ``bank`` (breaker) of it.

    ``name`` tells it from the others of the PDU. The kinds overlap: who sums watts sums those of one kind.
    """

    name: str
    watts: float | None = None
    volts: float | None = None
    amps: float | None = None
    watt_hours: float | None = None
    kind: InletKind = "pdu"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device says it is; empty: it does not say. ``driver``: the one that fits, where that was found out."""

    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    driver: str = ""

    def __str__(self) -> str:
        """Return it in words, for people; empty if nothing is known but the driver."""
        named = ((" ".join(filter(None, (self.maker, self.model))), ""), (self.serial, "serial number "))
        return ", ".join(f"{what}{value}" for value, what in (*named, (self.firmware, "firmware ")) if value)


def quantity(said: object, unit: float = 1.0) -> float | None:
    """Return a number that a device says, of which 1 is ``unit`` of ours (a milliamp: 0.001); None if it is none."""
    try:
        found = math.nan if isinstance(said, bool) else float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found * unit if math.isfinite(found) else None


def label(said: object) -> str | None:
    """Return what a device calls something, in one line of bounded length; None if that is no text, or empty."""
    words = said.split() if isinstance(said, str) else []
    return "".join(filter(str.isprintable, " ".join(words)))[:_LONGEST_LABEL] or None


def inlet_kind(said: object) -> InletKind:
    """Return which kind of inlet something says that it is; the whole of the PDU if it says none that there is."""
    return next((kind for kind in get_args(InletKind) if kind == said), "pdu")


def stated(states: Mapping[int, State] | Mapping[str, State]) -> list[OutletReading]:
    """Return readings of outlets of which nothing is known but the states, by port."""
    return [OutletReading(str(port), state=state) for port, state in states.items()]


def by_bit(bits: int, count: int, *, inverted: bool = False) -> dict[int, State]:
    """Return the states of outlets from 1 on, of which the first is the lowest of some bits."""
    return {port: State.ON if bool(bits >> port - 1 & 1) != inverted else State.OFF for port in range(1, count + 1)}
