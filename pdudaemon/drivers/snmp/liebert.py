# SPDX-License-Identifier: MIT
"""Emerson, Liebert MPH, MPH2, MPX, by SNMP.

Source: LIEBERT-GP-PDU-MIB; a recording of an MPHR3142.
Tested: against a recording of a real device (``liebert_mph``), and a fake with the outlets of each row.
Quirks: a port is pdu.branch.outlet, such as 1.2.5. The branch is a number that the device gives, and not that of its
label: 2 was recorded where the label says 1-A.

    "192.0.2.71": {"driver": "liebert_mph", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class Liebert(SNMPDriver):
    """What Liebert makes."""

    models = {
        "liebert_mph": OutletRow(
            about="Emerson/Liebert MPH, MPH2, MPX",
            base=f"{ENTERPRISES}.476.1.42.3.8",
            control=".50.20.1.100.{pdu}.{branch}.{n}",
            on=1,
            off=0,
            status=".50.20.1.95.{pdu}.{branch}.{n}",
            states={2: State.ON, 1: State.OFF},
            pending=(3,),
            parts={"pdu": 1, "branch": None},
            name=(".50.20.1.10.{pdu}.{branch}.{n}", ".50.20.1.25.{pdu}.{branch}.{n}"),
            meter=Meter(
                watts=".50.20.1.65.{pdu}.{branch}.{n}",
                volts=Scaled(".50.20.1.56.{pdu}.{branch}.{n}", 0.1),
                amps=Scaled(".50.20.1.61.{pdu}.{branch}.{n}", 0.01),
                watt_hours=Scaled(".50.20.1.85.{pdu}.{branch}.{n}", 100),
            ),
            inlets=(
                Inlet(watts=".30.20.1.65.{pdu}.{ps}", watt_hours=Scaled(".30.20.1.50.{pdu}.{ps}", 100), kind="pdu"),
                Inlet(
                    watts=".30.40.1.63.{pdu}.{ps}.{i}",
                    volts=Scaled(".30.40.1.19.{pdu}.{ps}.{i}", 0.1),
                    amps=Scaled(".30.40.1.22.{pdu}.{ps}.{i}", 0.01),
                    kind="phase",
                ),
            ),
            labels=Labels(
                "Liebert",
                model=".30.20.1.20.{pdu}.{ps}",
                serial=".30.20.1.55.{pdu}.{ps}",
                firmware=".30.20.1.60.{pdu}.{ps}",
            ),
            systems={f"{ENTERPRISES}.476.1.42": ""},
        ),
    }
