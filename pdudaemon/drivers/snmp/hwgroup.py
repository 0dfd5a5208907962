# SPDX-License-Identifier: MIT
"""HW group Poseidon and Damocles outputs, by SNMP.

Source: POSEIDON-MIB, DAMOCLES-MIB.
Tested: against a fake with the outlets of each row.
Quirks: an output must be in manual mode. Of Damocles the MIB contradicts itself on which value is on: 1 is taken
for it, for switching and for the state alike; try it once.

    "192.0.2.71": {"driver": "hwg_poseidon", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class HWGroup(SNMPDriver):
    """What HW group makes."""

    models = {
        "hwg_poseidon": OutletRow(
            about="HW group Poseidon outputs",
            base=f"{ENTERPRISES}.21796.3.3.2.1",
            control=".2.{n}",
            on=1,
            off=0,
            version="1",
            name=".3.{n}",
            labels=Labels("HW group"),
            systems={f"{ENTERPRISES}.21796.3.3": ""},
        ),
        "hwg_damocles": OutletRow(
            about="HW group Damocles outputs",
            base=f"{ENTERPRISES}.21796.3.4.2.1",
            control=".2.{n}",
            version="1",
            name=".3.{n}",
            labels=Labels("HW group"),
            systems={f"{ENTERPRISES}.21796.3.4": ""},
        ),
    }
