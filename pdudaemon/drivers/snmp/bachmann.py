# SPDX-License-Identifier: MIT
"""Bachmann BlueNet2 BN3000 to BN9500, by SNMP.

Source: BACHMANN-BLUENET2-MIB.
Tested: against a fake with the outlets of each row.
Quirks: a port is the number of a socket of the first phase, or dev.circuit.phase.socket. Its meters are not read.

    "192.0.2.71": {"driver": "bachmann_bluenet2", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class Bachmann(SNMPDriver):
    """What Bachmann makes."""

    models = {
        "bachmann_bluenet2": OutletRow(
            about="Bachmann BlueNet2 BN3000 to BN9500",
            base=f"{ENTERPRISES}.31770.2.2",
            control=".6.5.1.12.{dev}.{circuit}.{phase}.{n}",
            on=1,
            off=2,
            parts={"dev": 1, "circuit": 1, "phase": 1},
            name=(".6.5.1.8.{dev}.{circuit}.{phase}.{n}", ".6.5.1.7.{dev}.{circuit}.{phase}.{n}"),
            labels=Labels("Bachmann"),
            systems={f"{ENTERPRISES}.31770.2.1": ""},
        ),
    }
