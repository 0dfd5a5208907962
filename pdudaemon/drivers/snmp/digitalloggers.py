# SPDX-License-Identifier: MIT
"""Digital Loggers Pro, by SNMP.

Source: ENERGY-OBJECT-MIB (RFC 7460); a recording of a device with 8 relays.
Tested: against a recording of a real device (``dli_snmp``), and a fake with the outlets of each row.
Quirks: that the device takes a SET is not evidenced. Its sysObjectID is empty.

    "192.0.2.71": {"driver": "dli_snmp", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import Labels, Meter, OutletRow, Scaled


class DigitalLoggers(SNMPDriver):
    """What Digital Loggers makes."""

    models = {
        "dli_snmp": OutletRow(
            about="Digital Loggers Pro (RFC 7460 ENERGY-OBJECT-MIB)",
            base="1.3.6.1.2.1.229.1.2.1",
            control=".8.{n}",
            on=259,
            off=257,
            status=".9.{n}",
            meter=Meter(watts=Scaled(".1.{n}", power=".3.{n}")),
            labels=Labels("Digital Loggers"),
            systems={"=": ""},
            probe="1.3.6.1.2.1.229.0.1.0",
        ),
    }
