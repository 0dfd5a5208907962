# SPDX-License-Identifier: MIT
"""Schleifenbauer hPDU and DPM27e by databus or Ethernet, Conteg IP-DP, by SNMP.

Source: SCHLEIFENBAUER-DATABUS-MIB; recordings of both, without switches.
Tested: against a recording of a real device (``conteg``), and a fake with the outlets of each row.
Quirks: a port is unit.outlet, where the unit is the address that its user gave it. An outlet is unlocked, for 10 s,
before it is switched.

    "192.0.2.71": {"driver": "schleifenbauer", "community": "private"}
"""

from __future__ import annotations

from dataclasses import replace

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Put, Scaled
from pdudaemon.power import State

_ROW = OutletRow(
    about="Schleifenbauer hPDU, DPM27e by databus or own Ethernet",
    base=f"{ENTERPRISES}.31034.12.1.1.2",
    on=(
        Put(".7.3.1.4.{dev}.{n}", 1),
        Put(".7.3.1.2.{dev}.{n}", 1),
    ),
    off=(
        Put(".7.3.1.4.{dev}.{n}", 1),
        Put(".7.3.1.2.{dev}.{n}", 0),
    ),
    status=".7.3.1.2.{dev}.{n}",
    states={1: State.ON, 0: State.OFF},
    parts={"dev": None},
    name=".7.1.1.2.{dev}.{n}",
    meter=Meter(
        watts=".7.2.1.11.{dev}.{n}",
        volts=Scaled(".7.2.1.7.{dev}.{n}", 0.01),
        amps=Scaled(".7.2.1.5.{dev}.{n}", 0.01),
        watt_hours=Scaled(".7.2.1.2.{dev}.{n}", 1000),
    ),
    inlets=(
        Inlet(
            watts=".6.1.1.10.{dev}.{i}",
            volts=Scaled(".6.1.1.7.{dev}.{i}", 0.01),
            amps=Scaled(".6.1.1.5.{dev}.{i}", 0.01),
            watt_hours=Scaled(".6.1.1.2.{dev}.{i}", 1000),
            kind="phase",
        ),
    ),
    labels=Labels("Schleifenbauer", model=".1.1.1.5.{dev}", serial=".1.1.1.6.{dev}", firmware=".1.1.1.2.{dev}"),
    systems={f"{ENTERPRISES}.31034.11.1": "", f"{ENTERPRISES}.31034.11.3": ""},
)


class Schleifenbauer(SNMPDriver):
    """What Schleifenbauer makes."""

    models = {
        "schleifenbauer": _ROW,
        "conteg": replace(
            _ROW,
            about="Conteg IP-DP PDU (made by Schleifenbauer)",
            base=f"{ENTERPRISES}.28402.12.1.1.2",
            systems={f"{ENTERPRISES}.28402.11.1": ""},
        ),
    }
