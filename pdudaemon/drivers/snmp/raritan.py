# SPDX-License-Identifier: MIT
"""Raritan PX2, PX3, PX4, PXO, PXC, and what runs Xerus (Legrand, Server Technology PRO3X, PRO4X); Dominion PX, by
SNMP.

Source: PDU2-MIB, PDU-MIB; recordings of PX2, PX3-5493U, PX4 and a Dominion PX, none of which has the states.
Tested: against a recording of a real device (``raritan_px2``, ``raritan_px1``), and a fake with the outlets of each
row.
Quirks: as delivered, SNMP may not write. The device says how many digits of a reading are after the point. An outlet
without a name has its label. Linked units are pdu 2, 3, ...: port 2.5.

    "192.0.2.71": {"driver": "raritan_px2", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class Raritan(SNMPDriver):
    """What Raritan makes."""

    models = {
        "raritan_px2": OutletRow(
            about="Raritan PX2, PX3, PX3TS, PX4, PXO, PXC; Legrand; Server Technology PRO3X, PRO4X (Xerus)",
            base=f"{ENTERPRISES}.13742.6",
            control=".4.1.2.1.2.{pdu}.{n}",
            on=1,
            off=0,
            status=".4.1.2.1.3.{pdu}.{n}",
            states={7: State.ON, 8: State.OFF},
            parts={"pdu": 1},
            name=(".3.5.3.1.3.{pdu}.{n}", ".3.5.3.1.2.{pdu}.{n}"),
            meter=Meter(
                watts=Scaled(".5.4.3.1.4.{pdu}.{n}.5", digits=".3.5.4.1.7.{pdu}.{n}.5"),
                volts=Scaled(".5.4.3.1.4.{pdu}.{n}.4", digits=".3.5.4.1.7.{pdu}.{n}.4"),
                amps=Scaled(".5.4.3.1.4.{pdu}.{n}.1", 0.001, digits=".3.5.4.1.7.{pdu}.{n}.1"),
                watt_hours=Scaled(".5.4.3.1.4.{pdu}.{n}.8", digits=".3.5.4.1.7.{pdu}.{n}.8"),
            ),
            inlets=(
                Inlet(
                    watts=Scaled(".5.2.3.1.4.{pdu}.{inlet}.5", digits=".3.3.4.1.7.{pdu}.{inlet}.5"),
                    volts=Scaled(".5.2.3.1.4.{pdu}.{inlet}.4", digits=".3.3.4.1.7.{pdu}.{inlet}.4"),
                    amps=Scaled(".5.2.3.1.4.{pdu}.{inlet}.1", 0.001, digits=".3.3.4.1.7.{pdu}.{inlet}.1"),
                    watt_hours=Scaled(".5.2.3.1.4.{pdu}.{inlet}.8", digits=".3.3.4.1.7.{pdu}.{inlet}.8"),
                    kind="inlet",
                ),
            ),
            labels=Labels(
                "Raritan", model=".3.2.1.1.3.{pdu}", serial=".3.2.1.1.4.{pdu}", firmware=".3.2.3.1.6.{pdu}.1.1"
            ),
            systems={f"{ENTERPRISES}.13742.6": ""},
        ),
        "raritan_px1": OutletRow(
            about="Raritan Dominion PX (DPX...)",
            base=f"{ENTERPRISES}.13742.4.1",
            control=".2.2.1.3.{n}",
            on=1,
            off=0,
            pending=(2,),
            name=".2.2.1.2.{n}",
            meter=Meter(
                watts=".2.2.1.7.{n}",
                volts=Scaled(".2.2.1.6.{n}", 0.001),
                amps=Scaled(".2.2.1.4.{n}", 0.001),
                watt_hours=".2.2.1.31.{n}",
            ),
            inlets=(
                Inlet(
                    watts=".20.2.1.9.{i}",
                    volts=Scaled(".20.2.1.8.{i}", 0.001),
                    amps=Scaled(".20.2.1.7.{i}", 0.001),
                    watt_hours=".20.2.1.12.{i}",
                    kind="pdu",
                ),
            ),
            labels=Labels("Raritan", serial=".1.2.0", firmware=".1.1.0"),
            systems={f"{ENTERPRISES}.13742.4": "", f"={ENTERPRISES}.13742": ""},
        ),
    }
