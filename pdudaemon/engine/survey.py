# SPDX-License-Identifier: MIT
"""`Survey`: a PDU read as a whole, outlets, inlets and, once, who it is. A job in its queue, as a `Query` is.

It is cut short when something is to be switched: between two exchanges with the device, while the driver pauses, or
when the device has been silent for a while; not while it answers, since a session that is not ended properly may keep
the next one out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

from pdudaemon.config.model import PDUConfig
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, inlet_kind, label, quantity
from pdudaemon.engine.outlets import Found, KnownPDU
from pdudaemon.errors import DeviceError, PDUDaemonError, PermanentError
from pdudaemon.power import Action, Outlet, State
from pdudaemon.transports.deadline import Deadline

log = logging.getLogger("pdud.inventory")

T = TypeVar("T")

LONGEST_PORT = 200  # characters

Asker = Callable[[PDUDaemonError | None], None]
"""Is told, once, why a PDU could not be read; None: it was, and the inventory has it."""


class Survey:
    """One reading of a PDU. Fields belong to the dispatcher but for what `read` says."""

    order = Action.STATUS.value
    crowd = "surveys"
    lengthy = True

    def __init__(self, name: str, identified: bool, patience: float | None) -> None:
        self.outlet = Outlet(name, "")
        self.askers: list[Asker] = []
        self.hurry = threading.Event()  # set: something is to be switched
        self.patience = patience  # seconds, if fewer than the PDU's ``timeout``
        self.dead = patience is not None
        self.begun = False
        self.known: KnownPDU | None = None  # what the answer belongs to: another configuration's PDU is not that
        self.found: Found | None = None
        self._identified = identified

    def deadline(self, timeout: float) -> Deadline:
        """Return by when it must have ended, which `hurry` brings forward. Called by the PDU's worker."""
        seconds = timeout if self.patience is None else min(timeout, self.patience)
        return Deadline(seconds, self.hurry, gives_way=True)

    def read(self, driver: PDUDriver) -> None:
        """Read all that a device tells. Called by its worker. Raises: anything."""
        outlets = [*map(_outlet, _checked("read_outlets", driver.read_outlets(), OutletReading))]
        self._give_way(driver)
        inlets = [*map(_inlet, _checked("read_inlets", driver.read_inlets(), InletReading))]
        identity = None
        if not self._identified:
            self._give_way(driver)
            try:
                said = driver.identify()
                identity = _identity(said) if isinstance(said, Identity) else Identity()
            except DeviceError as error:  # what it has said of its outlets is good all the same
                log.debug("%s does not say what it is: %s", self.outlet.pdu, error)
                identity = Identity() if isinstance(error, PermanentError) else None
        self.found = Found(outlets, inlets, identity)

    @staticmethod
    def _give_way(driver: PDUDriver) -> None:
        driver.deadline.pause(0)


def _checked(name: str, said: object, kind: type[T]) -> list[T]:
    """Return what a driver returned, if it is a list of readings. Raises: PermanentError."""
    if not isinstance(said, list | tuple) or not all(isinstance(each, kind) for each in said):
        raise PermanentError(f"the driver's {name} returned something else than a list of {kind.__name__}")
    if kind is OutletReading and not all(_is_port(each.port) for each in said):
        raise PermanentError(f"the driver's {name} returned a port that is no text")
    return [*said]


def _is_port(said: object) -> bool:
    return isinstance(said, str) and said.isprintable() and 0 < len(said) <= LONGEST_PORT


# What it says goes to pages, terminals, brokers and scrapes, whichever driver it comes from: texts in one printable
# line, and finite numbers.


def _outlet(said: OutletReading) -> OutletReading:
    state = said.state if isinstance(said.state, State) else None
    return OutletReading(said.port, label(said.name), state, *_figures(said))


def _inlet(said: InletReading) -> InletReading:
    return InletReading(label(said.name) or "", *_figures(said), inlet_kind(said.kind))


def _figures(said: OutletReading | InletReading) -> tuple[float | None, float | None, float | None, float | None]:
    return quantity(said.watts), quantity(said.volts), quantity(said.amps), quantity(said.watt_hours)


def _identity(said: Identity) -> Identity:
    return Identity(*(label(getattr(said, each.name)) or "" for each in fields(Identity)))


def surveyable(pdu: PDUConfig) -> bool:
    """Whether a PDU can be read as a whole. One with a driver written for the existing daemon is never asked to."""
    return pdu.driver is not None and pdu.traits.reads_outlets and not pdu.traits.legacy
