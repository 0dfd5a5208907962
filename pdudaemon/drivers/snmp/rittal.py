# SPDX-License-Identifier: MIT
"""Rittal CMC-TC with PSM units, CMC III PU and PDU controller, by SNMP.

Source: RITTAL-CMC-TC-MIB, RITTAL-CMC-III-MIB; a recording of a PDU controller.
Tested: against a recording of a real device (``rittal_cmc3``), and a fake with the outlets of each row.
Quirks: an outlet of a CMC III is device.variable, such as 2.158: the variable ``General.Relay`` of a socket. No other
is SET.

    "192.0.2.71": {"driver": "rittal_cmc3", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Labels, OutletRow
from pdudaemon.power import State


class Rittal(SNMPDriver):
    """What Rittal makes."""

    models = {
        "rittal_cmc_tc": OutletRow(
            about="Rittal CMC-TC with PSM units",
            base=f"{ENTERPRISES}.2606.4.2",
            control=".{unit+2}.6.2.1.6.{n}",
            on=2,
            off=1,
            status=".{unit+2}.6.2.1.4.{n}",
            states={6: State.ON, 5: State.OFF},
            pending=(
                7,
                8,
            ),
            parts={"unit": 1},
            version="1",
            name=".{unit+2}.6.2.1.3.{n}",
            only=(".{unit+2}.6.2.1.2.{n}", "9|11"),
            labels=Labels("Rittal"),
            systems={f"{ENTERPRISES}.2606.4": ""},
        ),
        "rittal_cmc3": OutletRow(
            about="Rittal CMC III PU and PDU controller (7955, 7979)",
            base=f"{ENTERPRISES}.2606.7.4.2.2.1",
            control=".11.{device}.{n}",
            on=1,
            off=0,
            parts={"device": None},
            name=".10.{device}.{n-3}",
            only=(".3.{device}.{n}", r"Sockets\..*\.Relay"),
            labels=Labels(
                "Rittal",
                model=f"{ENTERPRISES}.2606.7.2.7.0",
                serial=f"{ENTERPRISES}.2606.7.2.6.0",
                firmware=f"{ENTERPRISES}.2606.7.2.4.0",
            ),
            systems={f"{ENTERPRISES}.2606.7": ""},
        ),
    }
