# SPDX-License-Identifier: MIT
"""Dell managed rack PDUs, by SNMP.

Source: DellRPDU-MIB; a recording of a DELL6606, without states.
Tested: against a recording of a real device (``dell_rpdu``), and a fake with the outlets of each row.
Quirks: amps of outlets come in whole amps. The state is read back.

    "192.0.2.71": {"driver": "dell_rpdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled


class Dell(SNMPDriver):
    """What Dell makes."""

    models = {
        "dell_rpdu": OutletRow(
            about="Dell managed rack PDU (made by APC)",
            base=f"{ENTERPRISES}.674.10903.200.2.200",
            control=".130.1.4.1.4.{n}",
            on=1,
            off=2,
            status=".130.1.2.1.4.{n}",
            lags=True,
            name=".130.1.2.1.3.{n}",
            meter=Meter(watts=".130.2.2.1.8.{n}", amps=".130.2.2.1.6.{n}", watt_hours=Scaled(".130.2.2.1.7.{n}", 1000)),
            inlets=(
                Inlet(watts=Scaled(".110.2.1.3.{u}", 10), watt_hours=Scaled(".110.2.1.4.{u}", 100), kind="pdu"),
                Inlet(
                    watts=Scaled(".120.2.1.6.{i}", 10),
                    volts=".120.2.1.5.{i}",
                    amps=Scaled(".120.2.1.4.{i}", 0.1),
                    kind="phase",
                ),
            ),
            labels=Labels("Dell", model=".100.2.1.7.{u}", serial=".100.2.1.8.{u}", firmware=".100.2.1.5.{u}"),
            systems={f"{ENTERPRISES}.674.10903.200.3": ""},
        ),
    }
