# SPDX-License-Identifier: MIT
"""Dataprobe iBoot-PDU, by SNMP.

Source: IBOOTPDU-MIB; a recording of an iBoot-PDU8-2N15.
Tested: against a recording of a real device (``iboot_pdu``), and a fake with the outlets of each row.
Quirks: outlets are counted from 1, their objects from 0. 99999 stands for no sensor.

    "192.0.2.71": {"driver": "iboot_pdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, OutletRow, Scaled


class Dataprobe(SNMPDriver):
    """What Dataprobe makes."""

    models = {
        "iboot_pdu": OutletRow(
            about="Dataprobe iBoot-PDU",
            base=f"{ENTERPRISES}.1418.6",
            control=".5.1.5.{n-1}",
            on=1,
            off=0,
            status=".5.1.7.{n-1}",
            name=".5.1.2.{n-1}",
            inlets=(
                Inlet(volts=Scaled(".6.1.0", 0.01), amps=Scaled(".6.2.0", 0.01), kind="inlet", name="inlet 1"),
                Inlet(volts=Scaled(".6.3.0", 0.01), amps=Scaled(".6.4.0", 0.01), kind="inlet", name="inlet 2"),
            ),
            labels=Labels("Dataprobe", model=".1.4.0", firmware=".1.1.0"),
            systems={f"{ENTERPRISES}.8072.3.2.10": "ibootpdu"},
            nothing=(99999,),
        ),
    }
