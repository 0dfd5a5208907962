# SPDX-License-Identifier: MIT
"""Digipower SWH-8023, SWV, Lindy 32657, by SNMP.

Source: DIGIPOWER-PDU-MIB; a recording of an SWV-1623K-24N1.
Tested: against a recording of a real device (``digipower``), and a fake with the outlets of each row.
Quirks: all outlets are in one text, in which one is changed. Their amps may be told of fewer than there are.

    "192.0.2.71": {"driver": "digipower", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.transports.snmp import Syntax


class Digipower(SNMPDriver):
    """What Digipower makes."""

    models = {
        "digipower": OutletRow(
            about="Digipower SWH and SWV, Lindy 32657",
            base=f"{ENTERPRISES}.17420.1.2.9.{{pdu}}",
            control=".13.0",
            on=1,
            off=0,
            absent=(-1,),
            parts={"pdu": 1},
            syntax=Syntax.OCTETS,
            separator=",",
            version="1",
            name=".14.{n}.0",
            meter=Meter(amps=Scaled(".12.0", 0.1)),
            inlets=(
                Inlet(volts=f"{ENTERPRISES}.17420.1.2.9.1.17.0", amps=Scaled(f"{ENTERPRISES}.17420.1.2.9.1.11.0", 0.1)),
            ),
            labels=Labels(
                "Digipower", model=f"{ENTERPRISES}.17420.1.2.9.1.19.0", firmware=f"{ENTERPRISES}.17420.1.2.4.0"
            ),
            systems={f"{ENTERPRISES}.17420": ""},
        ),
    }
