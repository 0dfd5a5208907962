# SPDX-License-Identifier: MIT
"""Avocent PM1000, PM2000, PM3000; ACS6000, ACS8000 and Cyclades ACS console servers with PDUs on their serial ports,
by SNMP.

Source: PM-MIB, ACS-MIB, ACS8000-MIB, CYCLADES-ACS-PM-MIB.
Tested: against a fake with the outlets of each row.
Quirks: a port of a console server is port.pdu.outlet (Cyclades: port.outlet), where the first is the serial port.

    "192.0.2.71": {"driver": "avocent_pm", "community": "private"}
"""

from __future__ import annotations

from dataclasses import replace

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State

_ACS = OutletRow(
    about="Avocent ACS6000 console server with PDUs on its serial ports",
    base=f"{ENTERPRISES}.10418.16.2",
    control=".5.5.1.6.{port}.{pdu}.{n}",
    on=2,
    off=3,
    status=".5.5.1.5.{port}.{pdu}.{n}",
    states={2: State.ON, 1: State.OFF},
    parts={"port": None, "pdu": 1},
    lags=True,
    name=".5.5.1.4.{port}.{pdu}.{n}",
    inlets=(
        Inlet(
            watts=Scaled(".5.3.1.51.{port}.{pdu}", 0.1),
            volts=".5.3.1.45.{port}.{pdu}",
            amps=Scaled(".5.3.1.39.{port}.{pdu}", 0.1),
            kind="pdu",
        ),
    ),
    labels=Labels("Avocent", model=".1.2.0", serial=".1.4.0", firmware=".1.7.0"),
    systems={f"{ENTERPRISES}.10418.16.1": ""},
)


class Avocent(SNMPDriver):
    """What Avocent makes."""

    models = {
        "avocent_pm": OutletRow(
            about="Emerson/Avocent PM1000, PM2000, PM3000",
            base=f"{ENTERPRISES}.10418.17.2",
            control=".5.5.1.6.{port}.{pdu}.{n}",
            on=2,
            off=3,
            status=".5.5.1.5.{port}.{pdu}.{n}",
            states={2: State.ON, 4: State.ON, 10: State.ON, 1: State.OFF, 3: State.OFF, 11: State.OFF},
            pending=(
                5,
                6,
                7,
                8,
            ),
            parts={"port": 1, "pdu": 1},
            lags=True,
            name=".5.5.1.4.{port}.{pdu}.{n}",
            meter=Meter(
                watts=Scaled(".5.5.1.60.{port}.{pdu}.{n}", 0.1),
                volts=".5.5.1.70.{port}.{pdu}.{n}",
                amps=Scaled(".5.5.1.50.{port}.{pdu}.{n}", 0.1),
                watt_hours=".5.5.1.105.{port}.{pdu}.{n}",
            ),
            inlets=(
                Inlet(
                    watts=Scaled(".5.3.1.60.{port}.{pdu}", 0.1),
                    volts=".5.3.1.70.{port}.{pdu}",
                    amps=Scaled(".5.3.1.50.{port}.{pdu}", 0.1),
                    watt_hours=".5.3.1.105.{port}.{pdu}",
                    kind="pdu",
                ),
                Inlet(
                    watts=Scaled(".5.9.1.60.{port}.{pdu}.{i}", 0.1),
                    amps=Scaled(".5.9.1.50.{port}.{pdu}.{i}", 0.1),
                    kind="phase",
                ),
                Inlet(amps=Scaled(".5.11.1.50.{port}.{pdu}.{i}", 0.1), kind="bank"),
            ),
            labels=Labels("Avocent", model=".1.2.0", serial=".1.4.0", firmware=".1.7.0"),
            systems={f"{ENTERPRISES}.10418.17.1": ""},
        ),
        "avocent_acs": _ACS,
        "avocent_acs8000": replace(
            _ACS, about="Avocent ACS8000", base=f"{ENTERPRISES}.10418.26.2", systems={f"{ENTERPRISES}.10418.26.1": ""}
        ),
        "cyclades_pm": OutletRow(
            about="Cyclades ACS with AlterPath PM",
            base=f"{ENTERPRISES}.2925.4.5",
            control=".4.1.4.{port}.{n}",
            on=1,
            off=0,
            pending=(2,),
            parts={"port": None},
            name=".4.1.2.{port}.{n}",
            inlets=(Inlet(amps=Scaled(".3.1.5.{port}.{unit}", 0.1), kind="pdu"),),
            labels=Labels("Avocent"),
            systems={f"{ENTERPRISES}.2925": ""},
        ),
    }
