# SPDX-License-Identifier: MIT
"""Tycon TPDIN2 monitor with 4 relays, by SNMP.

Source: TPDIN2-MIB; a recording.
Tested: against a fake with the outlets of each row.
Quirks: volts and amps are those of its inputs.

    "192.0.2.71": {"driver": "tycon_tpdin", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, OutletRow


class Tycon(SNMPDriver):
    """What Tycon makes."""

    models = {
        "tycon_tpdin": OutletRow(
            about="Tycon TPDIN2 monitor, 4 relays",
            base=f"{ENTERPRISES}.45621.2",
            control=".2.{n}.0",
            on=1,
            off=0,
            inlets=(
                Inlet(volts=".2.5.0", amps=".2.9.0", kind="inlet", name="inlet 1"),
                Inlet(volts=".2.6.0", amps=".2.10.0", kind="inlet", name="inlet 2"),
                Inlet(volts=".2.7.0", amps=".2.11.0", kind="inlet", name="inlet 3"),
                Inlet(volts=".2.8.0", amps=".2.12.0", kind="inlet", name="inlet 4"),
            ),
            labels=Labels("Tycon"),
            systems={f"{ENTERPRISES}.45621.2": ""},
        ),
    }
