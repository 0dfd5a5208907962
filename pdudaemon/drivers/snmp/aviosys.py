# SPDX-License-Identifier: MIT
"""Aviosys IP Power 9258, by SNMP: four outlets, and up to eight with some firmwares.

Source: the request that the existing PDUDaemon sends; test programs in public that read the same object.
Tested: against an agent of our own, and net-snmp's with such objects.
Quirks: one object for each outlet is both written and read. The device's answer to a command is not trusted alone: the
state is read back until it is as asked. An outlet that the device does not have is refused by it.

    "192.0.2.58": {"driver": "ip9258"},
    "192.0.2.59": {"driver": "ip9258", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import Labels, OutletRow, SNMPDriver


class IP9258(SNMPDriver):
    """One object for each outlet: 1 is on, 0 is off."""

    models = {
        "ip9258": OutletRow(
            about="Aviosys IP Power 9258",
            control="1.3.6.1.4.1.92.58.2.{n}.0",
            on=1,
            off=0,
            outlets=8,
            version="1",
            community="public",
            lags=True,
            labels=Labels("Aviosys"),
        )
    }
