# SPDX-License-Identifier: MIT
"""Vertiv and Geist rPDU, GU, IMD; Geist RCM and RSP, IT Watchdogs; Vertiv Quetzal, by SNMP.

Source: VERTIV-V5-MIB, GEIST-V5-MIB, Geist MIB V3; a recording of an MG02E4W1, which has no outlets.
Tested: against a recording of a real device (``vertiv_geist``), and a fake with the outlets of each row.
Quirks: nothing says how many outlets there are: those that answer.

    "192.0.2.71": {"driver": "vertiv_geist", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State
from pdudaemon.transports.snmp import Syntax


class Vertiv(SNMPDriver):
    """What Vertiv makes."""

    models = {
        "vertiv_geist": OutletRow(
            about="Vertiv/Geist rPDU, GU, IMD3 to IMD5 (VERTIV-V5 / GEIST-V5)",
            base=f"{ENTERPRISES}.21239.5.2",
            control=".3.5.1.6.{n}",
            on=2,
            off=4,
            status=".3.5.1.4.{n}",
            states={1: State.ON, 2: State.OFF},
            pending=(
                3,
                4,
                5,
                6,
            ),
            name=(".3.5.1.3.{n}", ".3.5.1.2.{n}"),
            meter=Meter(
                watts=".3.6.1.12.{n}",
                volts=Scaled(".3.6.1.4.{n}", 0.1),
                amps=Scaled(".3.6.1.8.{n}", 0.01),
                watt_hours=".3.6.1.15.{n}",
            ),
            inlets=(
                Inlet(watts=".3.1.1.9.{u}", watt_hours=".3.1.1.12.{u}", kind="pdu"),
                Inlet(
                    watts=".3.2.1.12.{i}",
                    volts=Scaled(".3.2.1.4.{i}", 0.1),
                    amps=Scaled(".3.2.1.8.{i}", 0.01),
                    watt_hours=".3.2.1.15.{i}",
                    kind="phase",
                ),
                Inlet(amps=Scaled(".3.3.1.4.{i}", 0.01), kind="bank", name="breaker"),
                Inlet(amps=Scaled(".3.4.1.4.{i}", 0.01), kind="phase", name="line"),
            ),
            labels=Labels("Vertiv", model=".1.8.0", serial=".1.10.0", firmware=".1.2.0"),
            systems={f"{ENTERPRISES}.21239.42.1": "", f"{ENTERPRISES}.21239.5": ""},
        ),
        "geist_v3": OutletRow(
            about="Geist RCM, RSP and others of the V3 MIB; IT Watchdogs the same at E.17373.3",
            base=f"{ENTERPRISES}.21239.2",
            control=".16.1.3.{n}",
            on=1,
            off=3,
            status=".16.1.3.{n}",
            states={1: State.ON, 0: State.OFF},
            syntax=Syntax.UNSIGNED,
            name=".16.1.2.{n}",
            meter=Meter(watts=".16.1.15.{n}", amps=Scaled(".16.1.6.{n}", 0.1), watt_hours=Scaled(".16.1.14.{n}", 1000)),
            inlets=(Inlet(watts=".25.1.30.{i}", watt_hours=Scaled(".25.1.29.{i}", 1000), kind="pdu"),),
            labels=Labels("Vertiv", model=".1.1.0", firmware=".1.2.0"),
            systems={f"{ENTERPRISES}.21239.2": "", f"{ENTERPRISES}.17373.3": ""},
        ),
        "vertiv_quetzal": OutletRow(
            about="Vertiv Quetzal (first PowerIT generation)",
            base=f"{ENTERPRISES}.21239.6.1.99",
            control=".7.1.10.{pdu}.{n}",
            on=2,
            off=4,
            status=".7.1.1.{pdu}.{n}",
            states={1: State.ON, 0: State.OFF},
            parts={"pdu": 1},
            name=(".6.1.4.{pdu}.{n}", ".6.1.5.{pdu}.{n}"),
            meter=Meter(
                watts=".8.1.3.{pdu}.{n}",
                amps=Scaled(".8.1.2.{pdu}.{n}", 0.1),
                watt_hours=Scaled(".8.1.1.{pdu}.{n}", 1000),
            ),
            inlets=(
                Inlet(watts=".1.1.6.{pdu}", watt_hours=Scaled(".1.1.5.{pdu}", 1000), kind="pdu", name="delta"),
                Inlet(watts=".2.1.6.{pdu}", watt_hours=Scaled(".2.1.5.{pdu}", 1000), kind="pdu", name="wye"),
            ),
            labels=Labels("Vertiv"),
            systems={f"{ENTERPRISES}.21239.6": ""},
        ),
    }
