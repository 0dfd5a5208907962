# SPDX-License-Identifier: MIT
"""Tripp Lite PDUs, ATS and UPS with PowerAlert 12.06 to 20 (WEBCARDLX, LX platform, PADM), SNMPWEBCARD, PowerAlert
12.x, by SNMP.

Source: TRIPPLITE-PRODUCTS-MIB, TRIPPLITE-12X-MIB; a recording of a PDUMV30HVNETLX.
Tested: against a recording of a real device (``tripplite``), and a fake with the outlets of each row.
Quirks: the object that is SET always reads 0. Some have ``tripplite`` as the community that may write.

    "192.0.2.71": {"driver": "tripplite", "community": "private"}
"""

from __future__ import annotations

from dataclasses import replace

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled

_PDU = OutletRow(
    about="Tripp Lite PDU by PowerAlert 12.06+/15/20 (WEBCARDLX, LX platform, PADM)",
    base=f"{ENTERPRISES}.850.1.1.3.2",
    control=".3.3.1.1.6.{dev}.{n}",
    on=2,
    off=1,
    status=".3.3.1.1.4.{dev}.{n}",
    parts={"dev": 1},
    name=".3.3.1.1.2.{dev}.{n}",
    meter=Meter(
        watts=".3.3.1.1.9.{dev}.{n}",
        volts=Scaled(".3.3.1.1.7.{dev}.{n}", 0.1),
        amps=Scaled(".3.3.1.1.8.{dev}.{n}", 0.01),
    ),
    inlets=(
        Inlet(watts=".2.1.1.9.{dev}", amps=Scaled(".2.1.1.16.{dev}", 0.01), kind="pdu"),
        Inlet(
            watts=".3.2.1.1.8.{dev}.{i}",
            volts=Scaled(".3.2.1.1.4.{dev}.{i}", 0.1),
            amps=Scaled(".3.2.1.1.5.{dev}.{i}", 0.01),
            kind="phase",
        ),
        Inlet(amps=Scaled(".3.4.1.1.4.{dev}.{i}", 0.01), kind="bank", name="breaker"),
    ),
    labels=Labels(
        "Tripp Lite",
        model=f"{ENTERPRISES}.850.1.1.1.2.1.5.{{dev}}",
        serial=f"{ENTERPRISES}.850.1.1.2.1.1.5.{{dev}}",
        firmware=f"{ENTERPRISES}.850.1.1.2.1.1.4.{{dev}}",
    ),
    systems={
        f"{ENTERPRISES}.850.1.1.1": "",
        f"{ENTERPRISES}.850.1": "POWERALERT",
        f"{ENTERPRISES}.850": "POWERALERT",
    },
)


class TrippLite(SNMPDriver):
    """What Tripp Lite makes."""

    models = {
        "tripplite": _PDU,
        "tripplite_ats": replace(
            _PDU,
            about="Tripp Lite ATS outlets",
            base=f"{ENTERPRISES}.850.1.1.3.4",
            systems={f"{ENTERPRISES}.850.1.1.1": ""},
        ),
        "tripplite_ups": OutletRow(
            about="Tripp Lite UPS outlets",
            base=f"{ENTERPRISES}.850.1.1.3.1",
            control=".3.5.1.1.6.{dev}.{n}",
            on=2,
            off=1,
            status=".3.5.1.1.4.{dev}.{n}",
            parts={"dev": 1},
            name=".3.5.1.1.2.{dev}.{n}",
            labels=Labels("Tripp Lite"),
            systems={f"{ENTERPRISES}.850.1.1.1": ""},
        ),
        "tripplite_old": OutletRow(
            about="Tripp Lite SNMPWEBCARD",
            base=f"{ENTERPRISES}.850.10.2.3.5.1",
            control=".4.1.{n}",
            on=2,
            off=1,
            status=".2.1.{n}",
            version="1",
            labels=Labels("Tripp Lite"),
        ),
        "tripplite_12x": OutletRow(
            about="Tripp Lite PowerAlert 12.x",
            base=f"{ENTERPRISES}.850.100.1.10",
            control=".2.1.4.{n}",
            on=2,
            off=1,
            status=".2.1.2.{n}",
            version="1",
            name=".2.1.5.{n}",
            meter=Meter(watts=".2.1.14.{n}", amps=Scaled(".2.1.13.{n}", 0.1)),
            labels=Labels("Tripp Lite"),
            systems={f"{ENTERPRISES}.850": "PowerAlert v12"},
        ),
    }
