# SPDX-License-Identifier: MIT
"""Relay boards of Waveshare with Modbus RTU (Modbus RTU Relay), by their relays, counted from 1.

Source: as `pdudaemon.drivers.modbusrtu`, and Waveshare's page on its boards, with its examples.
Tested: against a fake on a real pty; from documentation, untried on a board.
Quirks: after a power cut the relays are off.

    "bench": {"driver": "waveshare-8", "device": "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"}
"""

from __future__ import annotations

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.modbusrtu import OverLine


class Waveshare(OverLine):
    """A board by the number of its relays."""

    models = {
        "waveshare-1": 1,
        "waveshare-2": 2,
        "waveshare-4": 4,
        "waveshare-8": 8,
        "waveshare-16": 16,
        "waveshare-32": 32,
    }
    ports = Numbered(lambda row: row)
    first = 1

    def count(self) -> int:
        relays: int = self.row
        return relays
