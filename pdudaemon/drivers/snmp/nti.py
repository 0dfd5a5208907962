# SPDX-License-Identifier: MIT
"""NTI IPDU-S2, S4, S8, by SNMP.

Source: IPDU-MIB.
Tested: against a fake with the outlets of each row.
Quirks: none known.

    "192.0.2.71": {"driver": "nti_ipdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class NTI(SNMPDriver):
    """What NTI makes."""

    models = {
        "nti_ipdu": OutletRow(
            about="NTI IPDU-S2, S4, S8",
            base=f"{ENTERPRISES}.3699.1.1.6.1",
            control=".7.1.1.5.{n}",
            on=1,
            off=0,
            name=".7.1.1.2.{n}",
            labels=Labels("NTI"),
            systems={f"{ENTERPRISES}.3699.1.1.6": ""},
        ),
    }
