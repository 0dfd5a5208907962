# SPDX-License-Identifier: MIT
"""Enlogic EN2.0 and nVent, by SNMP.

Source: ENLOGIC-PDU-MIB, ENLOGIC-PDU2-MIB; a recording of a metered EN2, without outlets.
Tested: against a fake with the outlets of each row.
Quirks: slots without an outlet, whose number is 0, are no outlets.

    "192.0.2.71": {"driver": "enlogic", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class Enlogic(SNMPDriver):
    """What Enlogic makes."""

    models = {
        "enlogic": OutletRow(
            about="Enlogic EN2.0, nVent (ENLOGIC-PDU / PDU2-MIB)",
            base=f"{ENTERPRISES}.38446.1",
            control=".5.5.1.4.{pdu}.{n}",
            on=2,
            off=1,
            status=".5.4.1.4.{pdu}.{n}",
            states={1: State.ON, 0: State.OFF},
            parts={"pdu": 1},
            name=".5.4.1.3.{pdu}.{n}",
            only=(".5.4.1.2.{pdu}.{n}", "[1-9][0-9]*"),
            meter=Meter(
                watts=".5.9.1.6.{pdu}.{n}",
                amps=Scaled(".5.9.1.5.{pdu}.{n}", 0.01),
                watt_hours=Scaled(".5.9.1.11.{pdu}.{n}", 100),
            ),
            inlets=(
                Inlet(watts=".2.4.1.4.{pdu}", watt_hours=Scaled(".2.4.1.9.{pdu}", 100), kind="pdu"),
                Inlet(
                    watts=".3.4.1.7.{pdu}.{i}",
                    volts=".3.4.1.6.{pdu}.{i}",
                    amps=Scaled(".3.4.1.5.{pdu}.{i}", 0.01),
                    kind="phase",
                ),
                Inlet(amps=Scaled(".4.4.1.5.{pdu}.{i}", 0.01), kind="bank", name="breaker"),
            ),
            labels=Labels("Enlogic", model=".1.2.1.10.{pdu}", serial=".1.2.1.11.{pdu}", firmware=".1.2.1.13.{pdu}"),
            systems={f"{ENTERPRISES}.38446.1": ""},
        ),
    }
