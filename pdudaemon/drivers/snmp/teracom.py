# SPDX-License-Identifier: MIT
"""Teracom TCW121, TCW181B, TCW220, TCW240B, TCW241, TCW242, by SNMP.

Source: the MIBs of each model.
Tested: against a fake with the outlets of each row.
Quirks: the models have the same sysObjectID; which it is, is found out.

    "192.0.2.71": {"driver": "teracom_tcw", "community": "private"}
"""

from __future__ import annotations

from dataclasses import replace

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow

_BASE = f"{ENTERPRISES}.38783"
_TCW241 = OutletRow(
    base=f"{_BASE}.3",
    control=".3.4.{n}.1.0",
    on=1,
    off=0,
    name=".2.2.4.{n}.1.0",
    labels=Labels("Teracom", model=".1.1.0"),
    systems={_BASE: ""},
    probe=".1.1.0",
)
_OLDER = replace(_TCW241, name="", labels=Labels("Teracom"), probe="")


class Teracom(SNMPDriver):
    """What Teracom makes."""

    models = {
        "teracom_tcw": OutletRow(
            about="Teracom TCW121, TCW181B, TCW220, TCW240B, TCW241, TCW242",
            variants=(
                _TCW241,
                replace(_TCW241, base=f"{_BASE}.2"),  # TCW220
                replace(_TCW241, base=f"{_BASE}.1"),  # TCW240B
                replace(_TCW241, base=f"{_BASE}.8", control=".3.2.1.1.2.{n}", name=".2.2.4.1.1.2.{n}"),  # TCW242
                replace(_OLDER, control=".{n+2}.0", gap=1, outlets=2, systems={_BASE: "TCW121"}),
                replace(_OLDER, control=".{n+1}.0", outlets=8, systems={_BASE: "TCW181"}),
            ),
        ),
    }
