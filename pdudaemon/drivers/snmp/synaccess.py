# SPDX-License-Identifier: MIT
"""Synaccess netBooter NP, NPB, DU, older NP-08 and NP-16, SynLink, by SNMP.

Source: SYNACCESS-MIB, public clients.
Tested: against a fake with the outlets of each row.
Quirks: for some seconds after a command the state reads as asked even if the relay did not follow. The old NP has one
community for reading and writing. The scales of SynLink's amps and volts are not known, so they are not told.

    "192.0.2.71": {"driver": "synaccess_snmp", "community": "public"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class SynaccessSNMP(SNMPDriver):
    """What Synaccess makes."""

    models = {
        "synaccess_snmp": OutletRow(
            about="Synaccess netBooter NP-xxS, NPB, DU",
            base=f"{ENTERPRISES}.21728.3",
            control=".2.1.1.4.{n-1}",
            on=1,
            off=2,
            status=".2.1.1.3.{n-1}",
            community="public",
            name=".2.1.1.2.{n-1}",
            meter=Meter(amps=".2.1.1.5.{n-1}"),
            inlets=(
                Inlet(watts=".5.3.0", volts=".5.2.0", amps=".3.2.0", watt_hours=Scaled(".5.7.0", 1000), kind="pdu"),
                Inlet(amps=".3.3.0", kind="bank", name="second bank"),
            ),
            labels=Labels("Synaccess", model=".1.1.0", firmware=".1.6.0"),
            systems={f"{ENTERPRISES}.21728": "Synaccess Remote PDU"},
        ),
        "synaccess_np": OutletRow(
            about="Synaccess netBooter NP-08, NP-16 (older)",
            base=f"{ENTERPRISES}.21728.2.4.1",
            control=".2.1.1.4.{n}",
            on=1,
            off=2,
            status=".2.1.1.3.{n}",
            states={1: State.ON, 257: State.ON, 0: State.OFF, 2: State.OFF, 256: State.OFF},
            version="1",
            community="public",
            labels=Labels("Synaccess", model=".1.1.0", firmware=".1.6.0"),
            systems={f"{ENTERPRISES}.21728": "Power Distribution System"},
        ),
        "synlink": OutletRow(
            about="Synaccess SynLink",
            base=f"{ENTERPRISES}.21728.4",
            control=".5.1.1.7.{n}",
            on=1,
            off=0,
            name=".5.1.1.3.{n}",
            inlets=(Inlet(watts=".2.1.1.14.{i}", watt_hours=Scaled(".2.1.1.5.{i}", 1000), kind="pdu"),),
            labels=Labels("Synaccess", model=".1.1.0", serial=".1.2.0"),
            systems={f"{ENTERPRISES}.21728": ""},
        ),
    }
