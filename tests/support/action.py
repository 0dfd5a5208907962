# SPDX-License-Identifier: MIT
"""An action at a driver without an engine."""

from __future__ import annotations

from typing import TypeVar

from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.transports.deadline import Deadline

Driver = TypeVar("Driver", bound=PDUDriver)


def begun(driver: Driver, seconds: float = 30) -> Driver:
    """Return a driver whose next action has begun and has so many seconds, as the engine gives them."""
    driver.deadline = Deadline(seconds)
    return driver
