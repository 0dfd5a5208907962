# SPDX-License-Identifier: MIT
"""Racktivity ES, by SNMP.

Source: RACKTIVITY-MIB.
Tested: against a fake with the outlets of each row.
Quirks: values are SET as Unsigned32. An odd state is on.

    "192.0.2.71": {"driver": "racktivity", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State
from pdudaemon.transports.snmp import Syntax


class Racktivity(SNMPDriver):
    """What Racktivity makes."""

    models = {
        "racktivity": OutletRow(
            about="Racktivity ES",
            base=f"{ENTERPRISES}.34097.9.80.1.1",
            control=".10035.{module}.{n}",
            on=1,
            off=0,
            status=".8.{module}.{n}",
            states={value: State.ON if value % 2 else State.OFF for value in range(256)},
            parts={"module": 1},
            syntax=Syntax.UNSIGNED,
            name=".10034.{module}.{n}",
            meter=Meter(watts=".7.{module}.{n}", amps=Scaled(".6.{module}.{n}", 0.001), watt_hours=".9.{module}.{n}"),
            inlets=(
                Inlet(
                    watts=".18.{module}.1",
                    volts=Scaled(".4.{module}.1", 0.01),
                    amps=Scaled(".17.{module}.1", 0.001),
                    watt_hours=".20.{module}.1",
                    kind="pdu",
                ),
            ),
            labels=Labels("Racktivity", model=".10001.{module}.1"),
        ),
    }
