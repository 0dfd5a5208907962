# SPDX-License-Identifier: MIT
"""Teracom TCW121, TCW181B, TCW220, TCW240B, TCW241, TCW242, by SNMP.

Source: the MIBs of each model.
Tested: against a fake with the outlets of each row.
Quirks: the models have the same sysObjectID; which it is, is found out.

    "192.0.2.71": {"driver": "teracom_tcw", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow


class Teracom(SNMPDriver):
    """What Teracom makes."""

    models = {
        "teracom_tcw": OutletRow(
            about="Teracom TCW121, TCW181B, TCW220, TCW240B, TCW241, TCW242",
            variants=(
                OutletRow(
                    base=f"{ENTERPRISES}.38783.3",
                    control=".3.4.{n}.1.0",
                    on=1,
                    off=0,
                    name=".2.2.4.{n}.1.0",
                    labels=Labels("Teracom", model=".1.1.0"),
                    systems={f"{ENTERPRISES}.38783": ""},
                    probe=".1.1.0",
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.38783.2",
                    control=".3.4.{n}.1.0",
                    on=1,
                    off=0,
                    name=".2.2.4.{n}.1.0",
                    labels=Labels("Teracom", model=".1.1.0"),
                    systems={f"{ENTERPRISES}.38783": ""},
                    probe=".1.1.0",
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.38783.1",
                    control=".3.4.{n}.1.0",
                    on=1,
                    off=0,
                    name=".2.2.4.{n}.1.0",
                    labels=Labels("Teracom", model=".1.1.0"),
                    systems={f"{ENTERPRISES}.38783": ""},
                    probe=".1.1.0",
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.38783.8",
                    control=".3.2.1.1.2.{n}",
                    on=1,
                    off=0,
                    name=".2.2.4.1.1.2.{n}",
                    labels=Labels("Teracom", model=".1.1.0"),
                    systems={f"{ENTERPRISES}.38783": ""},
                    probe=".1.1.0",
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.38783.3",
                    control=".{n+2}.0",
                    on=1,
                    off=0,
                    gap=1,
                    outlets=2,
                    labels=Labels("Teracom"),
                    systems={f"{ENTERPRISES}.38783": "TCW121"},
                ),
                OutletRow(
                    base=f"{ENTERPRISES}.38783.3",
                    control=".{n+1}.0",
                    on=1,
                    off=0,
                    outlets=8,
                    labels=Labels("Teracom"),
                    systems={f"{ENTERPRISES}.38783": "TCW181"},
                ),
            ),
        ),
    }
