# SPDX-License-Identifier: MIT
"""Infratec RMS, by SNMP.

Source: INFRATEC-RMS-MIB.
Tested: against a fake with the outlets of each row.
Quirks: none known.

    "192.0.2.71": {"driver": "infratec_rms", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class Infratec(SNMPDriver):
    """What Infratec makes."""

    models = {
        "infratec_rms": OutletRow(
            about="Infratec RMS outputs; Knuerr RMS is the same below E.2769",
            base=f"{ENTERPRISES}.1909.10.3.1.1",
            control=".3.{n}",
            on=2,
            off=1,
            status=".7.{n}",
            version="1",
            name=".2.{n}",
            labels=Labels("Infratec"),
            systems={f"{ENTERPRISES}.1909": "", f"{ENTERPRISES}.2769": ""},
        ),
    }
