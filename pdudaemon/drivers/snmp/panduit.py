# SPDX-License-Identifier: MIT
"""Panduit SmartZone G5, by SNMP.

Source: PANDUIT-MIB; recordings of P32G13M and P24D40M.
Tested: against a fake with the outlets of each row.
Quirks: 48 slots answer; those without an outlet are no outlets. The state is read back.

    "192.0.2.71": {"driver": "panduit_g5", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled


class Panduit(SNMPDriver):
    """What Panduit makes."""

    models = {
        "panduit_g5": OutletRow(
            about="Panduit SmartZone G5",
            base=f"{ENTERPRISES}.19536.10.1",
            control=".5.2.1.10.{pdu}.{n}",
            on=2,
            off=1,
            status=".5.2.1.1.{pdu}.{n}",
            pending=(
                3,
                4,
            ),
            absent=(0,),
            parts={"pdu": 1},
            lags=True,
            name=".5.1.1.2.{pdu}.{n}",
            meter=Meter(
                watts=".5.1.1.13.{pdu}.{n}", amps=Scaled(".5.1.1.5.{pdu}.{n}", 0.01), watt_hours=".5.1.1.14.{pdu}.{n}"
            ),
            inlets=(
                Inlet(
                    watts=".2.1.1.5.{pdu}",
                    amps=Scaled(".2.1.1.11.{pdu}", 0.01),
                    watt_hours=Scaled(".2.1.1.6.{pdu}", 1000),
                    kind="pdu",
                ),
                Inlet(
                    watts=".2.2.1.20.{pdu}.{i}",
                    volts=Scaled(".2.2.1.3.{pdu}.{i}", 0.1),
                    amps=Scaled(".2.2.1.11.{pdu}.{i}", 0.01),
                    kind="phase",
                ),
            ),
            labels=Labels("Panduit", model=".1.2.1.7.{pdu}", serial=".1.2.1.8.{pdu}", firmware=".1.2.1.5.{pdu}"),
            systems={f"{ENTERPRISES}.19536.10.1": "", f"{ENTERPRISES}.19536.0.1": ""},
        ),
    }
