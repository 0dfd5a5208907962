# SPDX-License-Identifier: MIT
"""An action at a driver, or a look at a device, without an engine."""

from __future__ import annotations

from typing import TypeVar

from pdudaemon.drivers import hooks
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

Driver = TypeVar("Driver", bound=PDUDriver)


def begun(driver: Driver, seconds: float = 30) -> Driver:
    """Return a driver whose next action has begun and has so many seconds, as the engine gives them."""
    driver.deadline = Deadline(seconds)
    return driver


def recognised(family: type[PDUDriver], port: int) -> Recognised | None:
    """Return what a family takes the device at a port of this machine for."""
    address = f"127.0.0.1:{port}"
    return hooks.recognised(family, address, Deadline(10), Pages(address, Deadline(10)))
