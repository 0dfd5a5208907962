# SPDX-License-Identifier: MIT
"""Inveo Hero and Nano, by SNMP.

Source: INVEO-MIB.
Tested: against a fake with the outlets of each row.
Quirks: which it is, is found out.

    "192.0.2.71": {"driver": "inveo", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class Inveo(SNMPDriver):
    """What Inveo makes."""

    models = {
        "inveo": OutletRow(
            about="Inveo Hero (2 channels), Nano (1)",
            version="1",
            variants=(
                OutletRow(
                    base=f"{ENTERPRISES}.42814.12",
                    control=".3.1.{n}.0",
                    on=1,
                    off=0,
                    status=".3.2.{n}.0",
                    outlets=2,
                    labels=Labels("Inveo"),
                    systems={f"{ENTERPRISES}.42814.12": ""},
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.42814.14",
                    control=".3.1.{n}.0",
                    on=1,
                    off=0,
                    status=".3.2.{n}.0",
                    outlets=1,
                    labels=Labels("Inveo"),
                    systems={f"{ENTERPRISES}.42814.14": ""},
                ),
            ),
        ),
    }
