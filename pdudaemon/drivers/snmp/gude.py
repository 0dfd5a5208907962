# SPDX-License-Identifier: MIT
"""Gude Expert Power Control and other relay models, by SNMP.

Source: the MIBs of each model; recordings of 8031, 1202 and 1104.
Tested: against a recording of a real device (``gude``), and a fake with the outlets of each row.
Quirks: each model has a number of its own in its objects, which is found out from its sysObjectID. As delivered, SNMP
may not write. `pdudaemon.drivers.gude` reaches them by HTTP.

    "192.0.2.71": {"driver": "gude", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled


class GudeSNMP(SNMPDriver):
    """What Gude makes."""

    models = {
        "gude": OutletRow(
            about="Gude Expert Power Control 1104, 1105, 1121, 1141, 1202, 1292, 8001, 8021, 8031 to 8045, 8221, 8226, "
            "8291, 8314, 8316, 8712, 8713, 8733, ENC, ESB",
            variants=(
                OutletRow(
                    base=f"{ENTERPRISES}.28507.{{m}}.1",
                    control=".3.1.2.1.3.{n}",
                    on=1,
                    off=0,
                    name=".3.1.2.1.2.{n}",
                    meter=Meter(
                        watts=".5.5.2.1.4.{n}",
                        volts=".5.5.2.1.6.{n}",
                        amps=Scaled(".5.5.2.1.5.{n}", 0.001),
                        watt_hours=".5.5.2.1.3.{n}",
                    ),
                    inlets=(
                        Inlet(
                            watts=".5.1.2.1.4.{i}",
                            volts=".5.1.2.1.6.{i}",
                            amps=Scaled(".5.1.2.1.5.{i}", 0.001),
                            watt_hours=".5.1.2.1.3.{i}",
                            kind="phase",
                        ),
                    ),
                    labels=Labels("Gude", model=".1.2.1.0", serial=".1.2.5.0", firmware=".1.2.2.0"),
                    systems={f"{ENTERPRISES}.28507": ""},
                ),
            ),
        ),
        "gude_old": OutletRow(
            about="Gude EPC8X, EPC24X, EPC2X6",
            version="1",
            variants=(
                OutletRow(
                    base=f"{ENTERPRISES}.28507.{{m}}.1",
                    control=".2.2.1.3.{n}",
                    on=1,
                    off=0,
                    name=".2.2.1.2.{n}",
                    inlets=(Inlet(amps=Scaled(".3.1.0", 0.001)),),
                    labels=Labels("Gude"),
                    systems={f"{ENTERPRISES}.28507.1": "", f"{ENTERPRISES}.28507.6": ""},
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.28507.{{m}}.1",
                    control=".1.2.1.3.{n}",
                    on=1,
                    off=0,
                    name=".1.2.1.2.{n}",
                    labels=Labels("Gude"),
                    systems={f"{ENTERPRISES}.28507.5": ""},
                ),
            ),
        ),
    }
