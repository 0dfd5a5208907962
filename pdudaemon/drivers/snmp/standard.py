# SPDX-License-Identifier: MIT
"""Any switch: the PoE ports of RFC 3621, and the interfaces of RFC 2863, by SNMP.

Source: POWER-ETHERNET-MIB (RFC 3621), IF-MIB; a recording of an LGS318P.
Tested: against a fake with the outlets of each row.
Quirks: the number of a port need not be that of its label: 49 to 66 were recorded on a switch of 18 ports. A port of
``poe_snmp`` is that of group 1, or group.port. An interface is switched as a whole, with the data on it.

    "192.0.2.71": {"driver": "poe_snmp", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import Inlet, Labels, OutletRow


class Standard(SNMPDriver):
    """What any maker makes."""

    stable_names = False  # the name of a PoE port is that of its kind

    models = {
        "poe_snmp": OutletRow(
            about="any switch with the POWER-ETHERNET-MIB (RFC 3621)",
            base="1.3.6.1.2.1.105.1",
            control=".1.1.3.{group}.{n}",
            on=1,
            off=2,
            parts={"group": 1},
            name=".1.1.9.{group}.{n}",
            inlets=(Inlet(watts=".3.1.1.4.{group}", kind="pdu"),),
            labels=Labels(""),
            systems={},
        ),
        "ifmib": OutletRow(
            about="any interface",
            base="1.3.6.1.2.1.2.2.1",
            control=".7.{n}",
            on=1,
            off=2,
            name=".2.{n}",
            labels=Labels(""),
            systems={},
        ),
    }
