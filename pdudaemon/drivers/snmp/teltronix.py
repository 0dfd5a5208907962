# SPDX-License-Identifier: MIT
"""Teltronix PDU, by SNMP.

Source: a public client.
Tested: against a fake with the outlets of each row.
Quirks: none known.

    "192.0.2.71": {"driver": "teltronix", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class Teltronix(SNMPDriver):
    """What Teltronix makes."""

    models = {
        "teltronix": OutletRow(
            about="Teltronix PDU",
            base=f"{ENTERPRISES}.23620.1.2.2.1",
            control=".4.{n}",
            on=2,
            off=1,
            version="1",
            labels=Labels("Teltronix"),
            systems={f"{ENTERPRISES}.23620": ""},
        ),
    }
