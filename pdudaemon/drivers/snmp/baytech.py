# SPDX-License-Identifier: MIT
"""BayTech MRP, hosts of RPCs, and RPCs behind a DS host, by SNMP.

Source: BayTech-MIB 401-4, 403-1.
Tested: against a fake with the outlets of each row.
Quirks: an RPC behind a DS host is module.port.outlet. The scale of its watts is not known, so they are not told.

    "192.0.2.71": {"driver": "baytech_mrp", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, OutletRow, Scaled
from pdudaemon.power import State


class BayTech(SNMPDriver):
    """What BayTech makes."""

    models = {
        "baytech_mrp": OutletRow(
            about="BayTech MRP and hosts of RPCs (MIB 401-4, 403-1)",
            base=f"{ENTERPRISES}.4779.1.3.5",
            control=".3.1.3.{unit}.{n}",
            on=1,
            off=0,
            states={1: State.ON, 3: State.ON, 0: State.OFF, 4: State.OFF},
            pending=(
                2,
                5,
            ),
            parts={"unit": 1},
            name=".3.1.4.{unit}.{n}",
            inlets=(Inlet(volts=Scaled(".2.1.6.{unit}", 0.1), amps=Scaled(".2.1.4.{unit}", 0.1), kind="pdu"),),
            labels=Labels(
                "BayTech",
                model=".2.1.24.{unit}",
                serial=f"{ENTERPRISES}.4779.1.1.2.0",
                firmware=f"{ENTERPRISES}.4779.1.1.1.0",
            ),
            systems={f"{ENTERPRISES}.4779": ""},
        ),
        "baytech_rpc": OutletRow(
            about="BayTech RPC behind a DS host",
            base=f"{ENTERPRISES}.4779.1.3.5",
            control=".6.1.4.{mod}.{port}.{n}",
            on=1,
            off=0,
            states={1: State.ON, 3: State.ON, 0: State.OFF, 4: State.OFF},
            pending=(
                2,
                5,
            ),
            parts={"mod": None, "port": None},
            version="1",
            name=".6.1.5.{mod}.{port}.{n}",
            inlets=(
                Inlet(volts=Scaled(".5.1.8.{mod}.{port}", 0.1), amps=Scaled(".5.1.6.{mod}.{port}", 0.1), kind="pdu"),
            ),
            labels=Labels("BayTech", model=".5.1.3.{mod}.{port}"),
            systems={f"{ENTERPRISES}.4779": ""},
        ),
    }
