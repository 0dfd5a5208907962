# SPDX-License-Identifier: MIT
"""NetPing PWR and relay (DKSF), by SNMP.

Source: DKSF-MIB, public clients.
Tested: against a fake with the outlets of each row.
Quirks: a command ends what the device has set of watchdog, schedule or logic.

    "192.0.2.71": {"driver": "netping", "community": "SWITCH"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class NetPing(SNMPDriver):
    """What NetPing makes."""

    models = {
        "netping": OutletRow(
            about="NetPing PWR and relay (DKSF)",
            base=f"{ENTERPRISES}.25728.5500.5.1",
            control=".2.{n}",
            on=1,
            off=0,
            status=".15.{n}",
            version="1",
            community="SWITCH",
            name=".6.{n}",
            labels=Labels("NetPing"),
            systems={f"{ENTERPRISES}.25728": ""},
        ),
    }
