# SPDX-License-Identifier: MIT
"""Ingrasys iPoMan II and III, Socomec IPDU, by SNMP.

Source: IPOMANII-MIB; a recording of an iPoMan II, without states.
Tested: against a recording of a real device (``ipoman2``), and a fake with the outlets of each row.
Quirks: a Socomec PDU other than IPDU has meters only.

    "192.0.2.71": {"driver": "ipoman2", "community": "private"}
"""

from __future__ import annotations

from dataclasses import replace

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State

_IPOMAN = OutletRow(
    about="Ingrasys iPoMan II, III",
    base=f"{ENTERPRISES}.2468.1.4.2.1",
    control=".3.2.4.1.2.{n}",
    on=3,
    off=4,
    status=".3.2.3.1.2.{n}",
    states={3: State.ON, 2: State.OFF},
    pending=(
        4,
        5,
        6,
    ),
    version="1",
    name=".3.2.2.1.2.{n}",
    meter=Meter(watts=Scaled(".3.2.3.1.5.{n}", 0.1), amps=Scaled(".3.2.3.1.3.{n}", 0.001), watt_hours=".3.2.3.1.4.{n}"),
    inlets=(
        Inlet(
            volts=Scaled(".3.1.3.1.2.{i}", 0.1),
            amps=Scaled(".3.1.3.1.3.{i}", 0.001),
            watt_hours=Scaled(".3.1.3.1.5.{i}", 100),
            kind="pdu",
        ),
    ),
    labels=Labels("Ingrasys", model=".1.2.0", firmware=".1.3.0"),
    systems={f"{ENTERPRISES}.2468.1.4.2.1": ""},
)


class Ingrasys(SNMPDriver):
    """What Ingrasys makes."""

    models = {
        "ipoman2": _IPOMAN,
        "socomec_ipdu": replace(
            _IPOMAN, about="Socomec IPDU", base=f"{ENTERPRISES}.4555.1.1.20.1", systems={f"{ENTERPRISES}.4555": ""}
        ),
    }
