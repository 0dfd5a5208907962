# SPDX-License-Identifier: MIT
"""Powertek and BladeShelter, PWT, SPS and SPS2 firmware, by SNMP.

Source: PWT, SPSv1 and SPS2 MIBs; a recording with PWT firmware.
Tested: against a fake with the outlets of each row.
Quirks: PWT and SPS firmware have the same objects with other values, so sysDescr must say which it is before anything
is SET.

    "192.0.2.71": {"driver": "powertek", "community": "private"}
"""

from __future__ import annotations

from dataclasses import replace

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State

_PWT = OutletRow(
    base=f"{ENTERPRISES}.42610.1.4.4.1.6.2.{{unit}}",
    control=".4.1.2.{n}",
    on=2,
    off=4,
    status=".2.1.2.{n}",
    states={2: State.ON, 1: State.OFF},
    parts={"unit": 1},
    name=".3.1.2.{n}",
    meter=Meter(
        watts=Scaled(".2.1.5.{n}", 0.1),
        volts=Scaled(".2.1.10.{n}", 0.1),
        amps=Scaled(".2.1.3.{n}", 0.01),
        watt_hours=Scaled(".2.1.6.{n}", 1000),
    ),
    inlets=(
        Inlet(
            watts=Scaled(f"{ENTERPRISES}.42610.1.4.4.1.6.1.2.1.2.{{u}}", 0.1),
            watt_hours=Scaled(f"{ENTERPRISES}.42610.1.4.4.1.6.1.2.1.4.{{u}}", 1000),
        ),
    ),
    labels=Labels(
        "Powertek",
        serial=f"{ENTERPRISES}.42610.1.4.4.1.1.2.0",
        firmware=f"{ENTERPRISES}.42610.1.4.4.1.1.1.0",
    ),
    systems={f"{ENTERPRISES}.42610.1.4.4": "^PWT"},
)


class Powertek(SNMPDriver):
    """What Powertek makes."""

    models = {
        "powertek": OutletRow(
            about="Powertek, BladeShelter with PWT firmware, units A to H", parts=_PWT.parts, variants=(_PWT,)
        ),
        "powertek_sps": OutletRow(
            about="Powertek with SPS firmware (SPSv1-MIB)",
            parts=_PWT.parts,
            variants=(replace(_PWT, on=1, off=3, systems={f"{ENTERPRISES}.42610.1.4.4": "^SPS"}),),
        ),
        "powertek_sps2": OutletRow(
            about="Powertek SPS2 firmware, master and slaves",
            base=f"{ENTERPRISES}.42610.1.4.1.1",
            control=".3.2.{u}.2.1.14.{n}",
            on=2,
            off=4,
            status=".2.2.{u}.2.1.5.{n}",
            states={2: State.ON, 1: State.OFF},
            parts={"u": 1},
            name=".2.2.{u}.2.1.2.{n}",
            meter=Meter(
                watts=Scaled(".2.2.{u}.2.1.10.{n}", 0.1),
                volts=Scaled(".2.2.{u}.2.1.7.{n}", 0.1),
                amps=Scaled(".2.2.{u}.2.1.8.{n}", 0.01),
                watt_hours=Scaled(".2.2.{u}.2.1.12.{n}", 1000),
            ),
            labels=Labels("Powertek"),
            systems={f"{ENTERPRISES}.42610.1.4.1": ""},
        ),
    }
