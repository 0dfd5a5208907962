# SPDX-License-Identifier: MIT
"""CyberPower switched PDUs PDU81001 and PDU41001, by SNMP.

Source: CPS-MIB 2.11 (ePDUOutletControlOutletCommand, ePDUOutletStatusOutletState).
Tested: against an agent of our own, and net-snmp's with a table of such outlets.
Quirks: the state may lag a second or two behind the command, so it is read back until it is as asked. The daemon's one
community both writes and reads; ``public``, which the device has for reading, cannot switch.

    "192.0.2.41": {"driver": "cyberpower81001", "community": "private"},
    "192.0.2.42": {"driver": "cyberpower41001"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import OutletRow, SNMPDriver

_EPDU_OUTLET = "1.3.6.1.4.1.3808.1.1.3.3"
_OUTLETS = OutletRow(
    control=f"{_EPDU_OUTLET}.3.1.1.4.{{n}}",
    on=1,
    off=2,
    status=f"{_EPDU_OUTLET}.5.1.1.4.{{n}}",
    outlets=8,
    version="1",
    lags=True,
)


class CyberPower(SNMPDriver):
    """Both models have the same outlets."""

    models = {"cyberpower81001": _OUTLETS, "cyberpower41001": _OUTLETS}
