# SPDX-License-Identifier: MIT
"""Nexans iSwitch: its PoE ports, by SNMP.

Source: NEXANS-BM-MIB.
Tested: against a fake with the outlets of each row.
Quirks: none known.

    "192.0.2.71": {"driver": "nexans_poe", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class Nexans(SNMPDriver):
    """What Nexans makes."""

    models = {
        "nexans_poe": OutletRow(
            about="Nexans iSwitch",
            base=f"{ENTERPRISES}.266.20.3.1.1",
            control=".21.{n}",
            on=4,
            off=2,
            states={3: State.ON, 4: State.ON, 7: State.ON, 8: State.ON, 2: State.OFF},
            pending=(6,),
            meter=Meter(watts=Scaled(".24.{n}", 0.001), volts=".22.{n}", amps=Scaled(".23.{n}", 0.001)),
            labels=Labels("Nexans"),
            systems={f"{ENTERPRISES}.266": ""},
        ),
    }
