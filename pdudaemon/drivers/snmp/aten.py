# SPDX-License-Identifier: MIT
"""ATEN PE6 and PE8 eco PDUs, and PE with stations, by SNMP.

Source: ATEN-PE-CFG, ATEN-PE2-CFG; a recording of a PE with 16 outlets.
Tested: against a recording of a real device (``aten_pe``), and a fake with the outlets of each row.
Quirks: between the objects of outlets 8 and 9 stands the table of names. Slots without an outlet are no outlets.

    "192.0.2.71": {"driver": "aten_pe", "community": "administrator"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled


class Aten(SNMPDriver):
    """What ATEN makes."""

    models = {
        "aten_pe": OutletRow(
            about="ATEN PE6/PE8 eco PDU (ATEN-PE-CFG)",
            base=f"{ENTERPRISES}.21317.1.3.2.2.2",
            control=".2.{n+1}.0",
            on=2,
            off=1,
            pending=(
                3,
                4,
            ),
            absent=(7,),
            community="administrator",
            name=".2.10.1.2.{n}",
            meter=Meter(
                watts=Scaled(".2.99.1.4.{n}", 0.001),
                volts=Scaled(".2.99.1.3.{n}", 0.001),
                amps=Scaled(".2.99.1.2.{n}", 0.001),
                watt_hours=".2.99.1.5.{n}",
            ),
            inlets=(
                Inlet(
                    watts=Scaled(".1.99.1.4.1", 0.001),
                    volts=Scaled(".1.99.1.3.1", 0.001),
                    amps=Scaled(".1.99.1.2.1", 0.001),
                    watt_hours=".1.99.1.5.1",
                    kind="pdu",
                ),
            ),
            labels=Labels("ATEN", model=".1.1.0", firmware=f"{ENTERPRISES}.21317.1.3.2.2.3.4.3.0"),
            systems={f"{ENTERPRISES}.21317": ""},
            gap=8,
            outlets=42,
        ),
        "aten_pe2": OutletRow(
            about="ATEN PE with stations (ATEN-PE2-CFG)",
            base=f"{ENTERPRISES}.21317.1.3.2.3",
            control=".2.3.3.1.1.{sta}.{n}",
            on=2,
            off=1,
            pending=(
                3,
                4,
            ),
            absent=(
                7,
                -3000000,
            ),
            parts={"sta": 1},
            community="administrator",
            name=".2.3.2.1.1.{sta}.{n}",
            meter=Meter(
                watts=Scaled(".2.3.4.1.3.{sta}.{n}", 0.0001),
                volts=Scaled(".2.3.4.1.2.{sta}.{n}", 0.0001),
                amps=Scaled(".2.3.4.1.1.{sta}.{n}", 0.0001),
                watt_hours=Scaled(".2.3.4.1.4.{sta}.{n}", 0.1),
            ),
            labels=Labels("ATEN", model=".1.2.1.3.{sta}"),
            systems={f"{ENTERPRISES}.21317": ""},
        ),
    }
