# SPDX-License-Identifier: MIT
"""IBM DPI C13 PDU+, by SNMP.

Source: IBM-DPI-MIB, public tools for it.
Tested: against a fake with the outlets of each row.
Quirks: a newer firmware has its columns two further on, and the switch where the older one has watts: which it is, is
found out before anything is SET.

    "192.0.2.71": {"driver": "ibm_pdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, Meter, OutletRow, Scaled


class IBM(SNMPDriver):
    """What IBM makes."""

    models = {
        "ibm_pdu": OutletRow(
            about="IBM DPI C13 PDU+",
            version="1",
            variants=(
                OutletRow(
                    base=f"{ENTERPRISES}.2.6.223.8.2",
                    control=".2.1.13.{n}",
                    on=1,
                    off=0,
                    pending=(2, 3, 4, 5),
                    name=".2.1.2.{n}",
                    meter=Meter(watts=".2.1.15.{n}", amps=Scaled(".2.1.9.{n}", 0.001)),
                    labels=Labels("IBM"),
                    systems={f"{ENTERPRISES}.2.6.223": ""},
                    probe=".2.1.15.1",
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.2.6.223.8.2",
                    control=".2.1.11.{n}",
                    on=1,
                    off=0,
                    pending=(2, 3, 4, 5),
                    name=".2.1.2.{n}",
                    meter=Meter(watts=".2.1.13.{n}", amps=Scaled(".2.1.7.{n}", 0.001)),
                    labels=Labels("IBM"),
                    systems={f"{ENTERPRISES}.2.6.223": ""},
                ),
            ),
        ),
    }
