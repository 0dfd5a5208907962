# SPDX-License-Identifier: MIT
"""CyberPower switched PDUs PDU81001 and PDU41001, all others of both trees, ATS and UPS with outlets, by SNMP.

Source: CPS-MIB 2.11; recordings of a PDU81005.
Tested: against a recording of a real device (``cyberpower_epdu2``), an agent of our own, and net-snmp's with such
outlets.
Quirks: the state may lag a second or two behind the command, so it is read back until it is as asked. The daemon's one
community both writes and reads; ``public``, which the device has for reading, cannot switch. They do not take GETBULK.
Outlets of a daisy chain run on in one index.

    "192.0.2.41": {"driver": "cyberpower81001", "community": "private"},
    "192.0.2.42": {"driver": "cyberpower41001"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State

_EPDU_OUTLET = "1.3.6.1.4.1.3808.1.1.3.3"
_OUTLETS = OutletRow(
    control=f"{_EPDU_OUTLET}.3.1.1.4.{{n}}",
    on=1,
    off=2,
    status=f"{_EPDU_OUTLET}.5.1.1.4.{{n}}",
    outlets=8,
    version="1",
    lags=True,
    about="CyberPower PDU81001, PDU41001",
    labels=Labels("CyberPower"),
    name=f"{_EPDU_OUTLET}.5.1.1.2.{{n}}",
    bulk=False,
)


class CyberPower(SNMPDriver):
    """What CyberPower makes."""

    models = {
        "cyberpower81001": _OUTLETS,
        "cyberpower41001": _OUTLETS,
        "cyberpower": OutletRow(
            about="CyberPower PDU (first tree - PDU41001, 81001, 15SW, 20SW...)",
            base=f"{ENTERPRISES}.3808.1.1.3",
            control=".3.3.1.1.4.{n}",
            on=1,
            off=2,
            status=".3.5.1.1.4.{n}",
            lags=True,
            name=".3.5.1.1.2.{n}",
            meter=Meter(
                watts=".3.5.1.1.8.{n}", amps=Scaled(".3.5.1.1.7.{n}", 0.1), watt_hours=Scaled(".3.5.1.1.13.{n}", 100)
            ),
            inlets=(
                Inlet(volts=Scaled(".5.7.0", 0.1), kind="pdu"),
                Inlet(
                    watts=".2.3.1.1.7.{i}",
                    volts=Scaled(".2.3.1.1.6.{i}", 0.1),
                    amps=Scaled(".2.3.1.1.2.{i}", 0.1),
                    watt_hours=Scaled(".2.3.1.1.10.{i}", 100),
                    kind="phase",
                ),
            ),
            labels=Labels("CyberPower", model=".1.5.0", serial=".1.6.0", firmware=".1.3.0"),
            systems={f"{ENTERPRISES}.3808.1.1.3": ""},
            bulk=False,
        ),
        "cyberpower_epdu2": OutletRow(
            about="CyberPower PDU, second tree (PDU8xxxx, daisy chains, newer cards)",
            base=f"{ENTERPRISES}.3808.1.1.6",
            control=".6.1.5.1.5.{n}",
            on=1,
            off=2,
            status=".6.1.4.1.5.{n}",
            lags=True,
            name=".6.1.4.1.4.{n}",
            meter=Meter(
                watts=".6.2.4.1.7.{n}", amps=Scaled(".6.2.4.1.6.{n}", 0.1), watt_hours=Scaled(".6.2.4.1.11.{n}", 100)
            ),
            inlets=(
                Inlet(
                    watts=".3.4.1.18.{u}",
                    amps=Scaled(".3.4.1.5.{u}", 0.1),
                    watt_hours=Scaled(".3.4.1.9.{u}", 100),
                    kind="pdu",
                ),
                Inlet(
                    watts=".4.4.1.7.{i}",
                    volts=Scaled(".4.4.1.6.{i}", 0.1),
                    amps=Scaled(".4.4.1.5.{i}", 0.1),
                    kind="phase",
                ),
                Inlet(amps=Scaled(".5.4.1.5.{i}", 0.1), kind="bank"),
                Inlet(watts=".8.2.0", watt_hours=Scaled(".8.3.0", 100), kind="pdu", name="chain"),
            ),
            labels=Labels("CyberPower", model=".2.2.1.9.{u}", serial=".2.2.1.10.{u}", firmware=".2.2.1.7.{u}"),
            systems={f"{ENTERPRISES}.3808.1.1.6": ""},
            bulk=False,
        ),
        "cyberpower_ats": OutletRow(
            about="CyberPower ATS with switched outlets",
            base=f"{ENTERPRISES}.3808.1.1.5.6",
            control=".5.1.3.{n}",
            on=2,
            off=3,
            status=".3.1.3.{n}",
            states={1: State.ON, 2: State.OFF},
            lags=True,
            name=".3.1.2.{n}",
            labels=Labels("CyberPower"),
            systems={f"{ENTERPRISES}.3808.1.1.5": ""},
            bulk=False,
        ),
        "cyberpower_ups_outlet": OutletRow(
            about="CyberPower UPS with switched outlets",
            base=f"{ENTERPRISES}.3808.1.1.1.8.2",
            control=".5.1.3.{n}",
            on=1,
            off=2,
            status=".4.1.3.{n}",
            version="1",
            lags=True,
            name=".4.1.2.{n}",
            labels=Labels("CyberPower"),
            systems={f"{ENTERPRISES}.3808.1.1.1": ""},
            bulk=False,
        ),
    }
