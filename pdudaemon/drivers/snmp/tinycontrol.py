# SPDX-License-Identifier: MIT
"""tinycontrol LAN controller, by SNMP.

Source: LANKONTROLER-MIB.
Tested: against a fake with the outlets of each row.
Quirks: outputs are counted from 0, and 0 is on.

    "192.0.2.71": {"driver": "tinycontrol_lk", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class Tinycontrol(SNMPDriver):
    """What tinycontrol makes."""

    models = {
        "tinycontrol_lk": OutletRow(
            about="tinycontrol LAN controller",
            base=f"{ENTERPRISES}.17095.3",
            control=".{n+1}.0",
            on=0,
            off=1,
            first=0,
            version="1",
            labels=Labels("tinycontrol"),
            systems={f"{ENTERPRISES}.17095": ""},
            outlets=6,
        ),
    }
