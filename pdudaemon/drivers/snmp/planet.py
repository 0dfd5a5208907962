# SPDX-License-Identifier: MIT
"""PLANET IPM-8220 and IPM-4220, and other brands of the DIGIPDU-MIB, by SNMP.

Source: DIGIPDU-MIB; a recording of an IPM-8220.
Tested: against a recording of a real device (``digipdu``), and a fake with the outlets of each row.
Quirks: the MIB contradicts itself on which value switches on; that of its enumeration is used.

    "192.0.2.71": {"driver": "digipdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class Planet(SNMPDriver):
    """What PLANET makes."""

    models = {
        "digipdu": OutletRow(
            about="PLANET IPM-8220/4220, other DIGIPDU-MIB brands",
            base=f"{ENTERPRISES}.10456.3",
            control=".3.3.1.5.{n}",
            on=1,
            off=2,
            status=".3.3.1.4.{n}",
            states={1: State.ON, 0: State.OFF},
            pending=(
                2,
                3,
            ),
            meter=Meter(watts=".3.3.1.9.{n}", volts=".3.3.1.6.{n}", amps=Scaled(".3.3.1.7.{n}", 0.1)),
            inlets=(Inlet(watts=".3.2.1.6.{i}", volts=".3.2.1.3.{i}", amps=Scaled(".3.2.1.5.{i}", 0.1), kind="pdu"),),
            labels=Labels("PLANET", model=".1.1.0", serial=".1.3.0", firmware=".1.4.0"),
            systems={f"={ENTERPRISES}.10456": ""},
        ),
    }
