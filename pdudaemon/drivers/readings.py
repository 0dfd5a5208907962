# SPDX-License-Identifier: MIT
"""What a device tells of its outlets, of its inlets and of itself.

Units are the same everywhere: watts (active power), volts and amps (effective values), watt-hours (counted since the
device began to count). What a device does not tell is None, never 0: a lamp that is off draws 0 W, an outlet without a
meter draws nobody knows what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pdudaemon.power import State


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
    kind: Literal["pdu", "inlet", "phase", "bank"] = "pdu"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device says it is; empty: it does not say."""

    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
