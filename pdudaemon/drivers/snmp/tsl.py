# SPDX-License-Identifier: MIT
"""TSL MDU12, by SNMP.

Source: TSL-MDU12-MIB.
Tested: against a fake with the outlets of each row.
Quirks: the scales of its outlets' meters are not known, so they are not told.

    "192.0.2.71": {"driver": "tsl_mdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, OutletRow
from pdudaemon.power import State


class TSL(SNMPDriver):
    """What TSL makes."""

    models = {
        "tsl_mdu": OutletRow(
            about="TSL MDU12",
            base=f"{ENTERPRISES}.6853.3",
            control=".4.1.2.{n}",
            on=2,
            off=1,
            states={2: State.ON, 4: State.ON, 1: State.OFF, 3: State.OFF},
            version="1",
            inlets=(Inlet(volts=".7.0", amps=".10.0", kind="pdu"),),
            labels=Labels("TSL", model=".1.0"),
            systems={f"{ENTERPRISES}.6853.3": ""},
        ),
    }
