# SPDX-License-Identifier: MIT
"""WTI VMR, MPC, NPS, RSM, by SNMP.

Source: WTI-MPC-VMR-MIB; a recording of a VMR-8HD20.
Tested: against a recording of a real device (``wti_snmp``), and a fake with the outlets of each row.
Quirks: the object that is SET always reads 0. A plug without a name has its ID.

    "192.0.2.71": {"driver": "wti_snmp", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class WTI(SNMPDriver):
    """What WTI makes."""

    models = {
        "wti_snmp": OutletRow(
            about="WTI VMR, MPC, NPS, RSM",
            base=f"{ENTERPRISES}.2634.3",
            control=".100.200.1.4.{n}",
            on=5,
            off=6,
            status=".100.200.1.3.{n}",
            states={1: State.ON, 0: State.OFF},
            name=(".100.200.1.5.{n}", ".100.200.1.2.{n}"),
            meter=Meter(watts=".100.200.1.8.{n}", amps=Scaled(".100.200.1.7.{n}", 0.1)),
            inlets=(
                Inlet(watts=".200.70.0", amps=Scaled(".200.60.0", 0.1), kind="pdu"),
                Inlet(
                    watts=".200.10.1.6.{u}",
                    volts=".200.10.1.5.{u}",
                    amps=Scaled(".200.10.1.4.{u}", 0.1),
                    kind="bank",
                    name="branch A",
                ),
                Inlet(
                    watts=".200.10.1.9.{u}",
                    volts=".200.10.1.8.{u}",
                    amps=Scaled(".200.10.1.7.{u}", 0.1),
                    kind="bank",
                    name="branch B",
                ),
                Inlet(
                    watts=".200.10.1.12.{u}",
                    volts=".200.10.1.11.{u}",
                    amps=Scaled(".200.10.1.10.{u}", 0.1),
                    kind="bank",
                    name="branch C",
                ),
                Inlet(
                    watts=".200.10.1.15.{u}",
                    volts=".200.10.1.14.{u}",
                    amps=Scaled(".200.10.1.13.{u}", 0.1),
                    kind="bank",
                    name="branch D",
                ),
            ),
            labels=Labels("WTI"),
            systems={f"{ENTERPRISES}.2634.6": "", f"{ENTERPRISES}.8072.3.2.10": ""},
        ),
    }
