# SPDX-License-Identifier: MIT
"""AP Nederland modular PDU, by SNMP.

Source: APNL-MODULAR-PDU-MIB.
Tested: against a fake with the outlets of each row.
Quirks: a port is the number of a node; only those that can switch are outlets.

    "192.0.2.71": {"driver": "apnl", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled


class APNL(SNMPDriver):
    """What AP Nederland makes."""

    models = {
        "apnl": OutletRow(
            about="AP Nederland modular PDU",
            base=f"{ENTERPRISES}.29640.4.3",
            control=".33.1.14.{n}",
            on=2,
            off=1,
            status=".33.1.13.{n}",
            name=".33.1.20.{n}",
            only=(".33.1.2.{n}", "[56]"),
            meter=Meter(volts=".33.1.8.{n}", amps=Scaled(".33.1.6.{n}", 0.1), watt_hours=Scaled(".33.1.5.{n}", 1000)),
            inlets=(Inlet(amps=Scaled(".13.0", 0.1), watt_hours=Scaled(".5.0", 1000), kind="pdu"),),
            labels=Labels("AP Nederland", model=".2.0", serial=".3.0"),
        ),
    }
