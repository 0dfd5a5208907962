# SPDX-License-Identifier: MIT
"""An action at a driver, or a look at a device, without an engine."""

from __future__ import annotations

import time
from typing import TypeVar

from pdudaemon.drivers import hooks
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

Driver = TypeVar("Driver", bound=PDUDriver)


def begun(driver: Driver, seconds: float = 120) -> Driver:
    """Return a driver whose next action has begun and has so many seconds, as the engine gives them."""
    driver.deadline = Deadline(seconds)
    return driver


class Pauses(Deadline):
    """So many seconds of pauses, which take no time, however long a machine takes for what is done between them."""

    def __init__(self, seconds: float) -> None:
        super().__init__(300)
        self.seconds = self._left = seconds

    def within(self, seconds: float) -> Deadline:
        return self if seconds >= self._left else super().within(seconds)

    def pause(self, seconds: float) -> None:
        self.remaining()
        self._left -= seconds
        if self._left <= 0:
            self.when = time.monotonic()


def hurried(driver: Driver, seconds: float) -> Driver:
    """Return a driver whose next action is over when it has paused for so long, to wait for what never comes."""
    driver.deadline = Pauses(seconds)
    return driver


def recognised(family: type[PDUDriver], port: int) -> Recognised | None:
    """Return what a family takes the device at a port of this machine for."""
    address = f"127.0.0.1:{port}"
    return hooks.recognised(family, address, Deadline(10), Pages(address, Deadline(10)))
