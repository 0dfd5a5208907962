# SPDX-License-Identifier: MIT
"""Relay boards of Waveshare with Modbus/TCP (Modbus POE ETH Relay), by their relays, counted from 1.

Source: as `pdudaemon.drivers.modbustcp`, and Waveshare's page on its boards.
Tested: against a fake only; from documentation, untried on a board.
Quirks: a board listens on port 502 or 4196, as its owner has set it. Where it is set to pass on bytes as they are (no
Modbus gateway), it is a line: ``waveshare-8`` with ``"device": "socket://192.0.2.61:4196"``.

    "dock": {"driver": "waveshare_lan-8", "ip": "192.0.2.61", "port": 4196}
"""

from __future__ import annotations

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.modbustcp import OverTCP


class WaveshareLAN(OverTCP):
    """A board by the number of its relays."""

    models = {"waveshare_lan-8": 8, "waveshare_lan-16": 16, "waveshare_lan-30": 30}
    ports = Numbered(lambda row: row)
    first = 1

    def count(self) -> int:
        relays: int = self.row
        return relays
