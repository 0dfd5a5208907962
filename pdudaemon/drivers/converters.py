# SPDX-License-Identifier: MIT
"""Serial lines that a USB device brings, and what may be behind them, for ``pdudaemon --list-devices``.

A line says what its converter is. Some makers have an id of their own; most have that of the converter's maker, whose
chips are before modems and microscopes as well, and nothing is sent to find out what it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from pdudaemon.drivers.driver import Attached, PDUDriver
from pdudaemon.transports import serialport


def lines(driver: type[PDUDriver], product: str = "") -> Iterator[Attached]:
    """Yield the lines of a family, and of converters that its devices may have, if these have a word in their name."""
    for line in serialport.attached(driver.usb_ids):
        yield Attached({"device": line.path}, line.product)
    for line in serialport.attached(driver.usb_chips):
        if product.lower() in line.product.lower():
            yield Attached({"device": line.path}, line.product if product else f"{line.product}, if it is one")
