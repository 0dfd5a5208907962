# SPDX-License-Identifier: MIT
"""NETIO 4, PowerPDU, PowerBOX, PowerCable, by SNMP.

Source: NETIO-PRODUCTS-NETIO-MIB.
Tested: against a fake with the outlets of each row.
Quirks: where there is no meter, 0 is read. The community that may write is set by the user.

    "192.0.2.71": {"driver": "netio_snmp", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled


class Netio(SNMPDriver):
    """What NETIO makes."""

    models = {
        "netio_snmp": OutletRow(
            about="NETIO 4, PowerPDU, PowerBOX, PowerCable",
            base=f"{ENTERPRISES}.47952.1",
            control=".1.1.5.{n}",
            on=1,
            off=0,
            status=".1.1.3.{n}",
            name=".1.1.2.{n}",
            meter=Meter(watts=".1.1.25.{n}", amps=Scaled(".1.1.28.{n}", 0.001), watt_hours=".1.1.26.{n}"),
            inlets=(
                Inlet(
                    watts=".2.5.0",
                    volts=Scaled(".2.1.0", 0.001),
                    amps=Scaled(".2.3.0", 0.001),
                    watt_hours=".2.6.0",
                    kind="pdu",
                ),
            ),
            labels=Labels("NETIO"),
            systems={f"{ENTERPRISES}.47952": ""},
        ),
    }
