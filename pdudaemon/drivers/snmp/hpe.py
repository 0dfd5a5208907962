# SPDX-License-Identifier: MIT
"""HPE intelligent, monitored and managed PDUs; G2 metered and switched (P9S..A), by SNMP.

Source: CPQPOWER-MIB; recordings of a managed PDU and of a P9S18A.
Tested: against a recording of a real device (``hpe_pdu``, ``hpe_g2_pdu``), and a fake with the outlets of each row.
Quirks: a command is answered when it is queued, so the state is read back. A G2 has 48 slots; those without an outlet
are no outlets. Units are counted from 0 in ``hpe_pdu``, from 1 in ``hpe_g2_pdu``.

    "192.0.2.71": {"driver": "hpe_g2_pdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Put, Scaled
from pdudaemon.power import State

_LABELS = Labels(
    "HPE",
    model=f"{ENTERPRISES}.232.165.1.2.2.0",
    serial=f"{ENTERPRISES}.232.165.1.2.7.0",
    firmware=f"{ENTERPRISES}.232.165.1.2.3.0",
)


class HPE(SNMPDriver):
    """What HPE makes."""

    models = {
        "hpe_pdu": OutletRow(
            about="HPE intelligent/monitored/managed PDU (maPDU; CPQPOWER pdu2)",
            base=f"{ENTERPRISES}.232.165.7",
            on=(Put(".5.2.1.3.{strap}.{n}", 0),),
            off=(Put(".5.2.1.2.{strap}.{n}", 0),),
            status=".5.2.1.1.{strap}.{n}",
            states={2: State.ON, 1: State.OFF},
            pending=(
                3,
                4,
            ),
            parts={"strap": 0},
            lags=True,
            name=".5.1.1.2.{strap}.{n}",
            meter=Meter(
                watts=".5.1.1.14.{strap}.{n}",
                amps=Scaled(".5.1.1.5.{strap}.{n}", 0.001),
                watt_hours=".5.1.1.15.{strap}.{n}",
            ),
            inlets=(
                Inlet(watts=".2.1.1.5.{strap}", watt_hours=".2.1.1.6.{strap}", kind="pdu"),
                Inlet(
                    watts=".2.2.1.21.{strap}.{i}",
                    volts=Scaled(".2.2.1.3.{strap}.{i}", 0.001),
                    amps=Scaled(".2.2.1.11.{strap}.{i}", 0.001),
                    kind="phase",
                ),
            ),
            labels=_LABELS,
            systems={f"{ENTERPRISES}.232.165.7": ""},
        ),
        "hpe_g2_pdu": OutletRow(
            about="HPE G2 metered/switched (P9S..A; CPQPOWER pdu3, CIS)",
            base=f"{ENTERPRISES}.232.165.11",
            on=(Put(".5.2.1.3.{pdu}.{n}", 0),),
            off=(Put(".5.2.1.2.{pdu}.{n}", 0),),
            status=".5.2.1.1.{pdu}.{n}",
            states={2: State.ON, 1: State.OFF},
            pending=(
                3,
                4,
            ),
            absent=(0,),
            parts={"pdu": 1},
            lags=True,
            name=".5.1.1.2.{pdu}.{n}",
            meter=Meter(
                watts=".5.1.1.13.{pdu}.{n}",
                amps=Scaled(".5.1.1.5.{pdu}.{n}", 0.01),
                watt_hours=Scaled(".5.1.1.14.{pdu}.{n}", 1000),
            ),
            inlets=(
                Inlet(watts=".2.1.1.5.{pdu}", kind="pdu"),
                Inlet(
                    watts=".2.2.1.20.{pdu}.{i}",
                    volts=Scaled(".2.2.1.3.{pdu}.{i}", 0.1),
                    amps=Scaled(".2.2.1.11.{pdu}.{i}", 0.01),
                    kind="phase",
                ),
            ),
            labels=_LABELS,
            systems={f"{ENTERPRISES}.232.165.11": ""},
        ),
    }
