# SPDX-License-Identifier: MIT
"""ICT distribution panels for 12 and 48 V, by SNMP.

Source: ICT-MIB; a recording of an ICT180S-12BRCP.
Tested: against a recording of a real device (``ict_pdu``), and a fake with the outlets of each row.
Quirks: outputs are counted from 0. Numbers come as texts.

    "192.0.2.71": {"driver": "ict_pdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow


class ICT(SNMPDriver):
    """What ICT makes."""

    models = {
        "ict_pdu": OutletRow(
            about="ICT distribution panels, DC 12/48 V",
            base=f"{ENTERPRISES}.39145.10",
            control=".8.1.5.{n}",
            on=1,
            off=2,
            first=0,
            name=".8.1.2.{n}",
            meter=Meter(amps=".8.1.3.{n}"),
            inlets=(Inlet(volts=".6.0", amps=".7.0", kind="pdu"),),
            labels=Labels("ICT", model=".1.0", firmware=".4.0"),
            systems={f"{ENTERPRISES}.39145.10": ""},
        ),
    }
