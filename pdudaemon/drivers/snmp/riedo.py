# SPDX-License-Identifier: MIT
"""Riedo Networks UPDU, by SNMP.

Source: RNX-UPDU-MIB; a recording of an RN3214 without relays.
Tested: against a recording of a real device (``riedo_updu``), and a fake with the outlets of each row.
Quirks: relays are counted anew in each module: port 2.5. Meters are not those of relays, so that outlets have no watts.

    "192.0.2.71": {"driver": "riedo_updu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, OutletRow, Scaled


class Riedo(SNMPDriver):
    """What Riedo makes."""

    models = {
        "riedo_updu": OutletRow(
            about="Riedo Networks UPDU (RNX)",
            base=f"{ENTERPRISES}.55108.1",
            control=".4.1.1.3.{module}.{n}",
            on=1,
            off=0,
            status=".4.1.1.4.{module}.{n}",
            parts={"module": 1},
            inlets=(
                Inlet(
                    watts=".3.1.1.7.0.0",
                    volts=Scaled(".3.1.1.10.0.0", 0.001),
                    amps=Scaled(".3.1.1.11.0.0", 0.001),
                    watt_hours=".3.1.1.4.0.0",
                    kind="pdu",
                ),
                Inlet(
                    watts=".3.1.1.7.0.1",
                    volts=Scaled(".3.1.1.10.0.1", 0.001),
                    amps=Scaled(".3.1.1.11.0.1", 0.001),
                    watt_hours=".3.1.1.4.0.1",
                    kind="phase",
                    name="phase L1",
                ),
                Inlet(
                    watts=".3.1.1.7.0.2",
                    volts=Scaled(".3.1.1.10.0.2", 0.001),
                    amps=Scaled(".3.1.1.11.0.2", 0.001),
                    watt_hours=".3.1.1.4.0.2",
                    kind="phase",
                    name="phase L2",
                ),
                Inlet(
                    watts=".3.1.1.7.0.3",
                    volts=Scaled(".3.1.1.10.0.3", 0.001),
                    amps=Scaled(".3.1.1.11.0.3", 0.001),
                    watt_hours=".3.1.1.4.0.3",
                    kind="phase",
                    name="phase L3",
                ),
            ),
            labels=Labels("Riedo", model=".1.1.0", serial=".1.2.0"),
            systems={f"{ENTERPRISES}.55108.1": ""},
        ),
    }
