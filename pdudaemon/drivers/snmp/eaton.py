# SPDX-License-Identifier: MIT
"""Eaton ePDU G2, G3, G4 and their groups of outlets; Powerware and Aphel Revelation; Pulizzi; nLogic, by SNMP.

Source: EATON-EPDU-MIB, EATON-EPDU-MA; recordings of an EMA114-10 and of a managed ePDU.
Tested: against a recording of a real device (``eaton_epdu``, ``eaton_revelation``), and a fake with the outlets of each
row.
Quirks: a command is answered when it is queued, so the state is read back. A port is the number of an outlet of the
first unit, or strap.outlet, straps from 0. Outlets of a Revelation are numbered from 0.

    "192.0.2.71": {"driver": "eaton_epdu", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Put, Scaled
from pdudaemon.power import State


class Eaton(SNMPDriver):
    """What Eaton makes."""

    models = {
        "eaton_epdu": OutletRow(
            about="Eaton ePDU G2, G3, G3HD, G4 (EATON-EPDU-MIB)",
            base=f"{ENTERPRISES}.534.6.6.7",
            on=(Put(".6.6.1.4.{strap}.{n}", 0),),
            off=(Put(".6.6.1.3.{strap}.{n}", 0),),
            status=".6.6.1.2.{strap}.{n}",
            states={1: State.ON, 0: State.OFF},
            pending=(
                2,
                3,
            ),
            parts={"strap": 0},
            lags=True,
            name=(".6.1.1.3.{strap}.{n}", ".6.1.1.6.{strap}.{n}"),
            meter=Meter(
                watts=".6.5.1.3.{strap}.{n}",
                volts=Scaled(".6.3.1.2.{strap}.{n}", 0.001),
                amps=Scaled(".6.4.1.3.{strap}.{n}", 0.001),
                watt_hours=".6.5.1.4.{strap}.{n}",
            ),
            inlets=(
                Inlet(watts=".3.5.1.4.{strap}.{in}", watt_hours=".3.5.1.5.{strap}.{in}", kind="pdu"),
                Inlet(
                    watts=".3.4.1.4.{strap}.{in}.{i}",
                    volts=Scaled(".3.2.1.3.{strap}.{in}.{i}", 0.001),
                    amps=Scaled(".3.3.1.4.{strap}.{in}.{i}", 0.001),
                    kind="phase",
                ),
            ),
            labels=Labels("Eaton", model=".1.2.1.2.{strap}", serial=".1.2.1.4.{strap}", firmware=".1.2.1.5.{strap}"),
            systems={f"{ENTERPRISES}.534.6.6.7": ""},
        ),
        "eaton_epdu_group": OutletRow(
            about="outlet groups of the same",
            base=f"{ENTERPRISES}.534.6.6.7",
            on=(Put(".5.6.1.4.{strap}.{n}", 0),),
            off=(Put(".5.6.1.3.{strap}.{n}", 0),),
            status=".5.6.1.2.{strap}.{n}",
            states={1: State.ON, 0: State.OFF},
            pending=(2,),
            parts={"strap": 0},
            version="1",
            lags=True,
            name=".5.1.1.3.{strap}.{n}",
            meter=Meter(
                watts=".5.5.1.3.{strap}.{n}",
                volts=Scaled(".5.3.1.3.{strap}.{n}", 0.001),
                amps=Scaled(".5.4.1.3.{strap}.{n}", 0.001),
                watt_hours=".5.5.1.4.{strap}.{n}",
            ),
            labels=Labels("Eaton"),
            systems={f"{ENTERPRISES}.534.6.6.7": ""},
        ),
        "eaton_revelation": OutletRow(
            about="Eaton/Powerware Managed ePDU, Aphel Revelation (EATON-EPDU-MA)",
            base=f"{ENTERPRISES}.534.6.6.6.1",
            control=".2.2.1.3.{n}",
            on=1,
            off=0,
            pending=(2,),
            first=0,
            lags=True,
            name=".2.2.1.2.{n}",
            meter=Meter(watts=".2.2.1.7.{n}", volts=".2.2.1.6.{n}", amps=Scaled(".2.2.1.4.{n}", 0.001)),
            inlets=(
                Inlet(watts=".3.1.3.0", volts=Scaled(".3.1.2.0", 0.001), amps=Scaled(".3.1.1.0", 0.001), kind="pdu"),
            ),
            labels=Labels("Eaton", model=".1.12.0", serial=".1.2.0", firmware=".1.1.0"),
            systems={f"{ENTERPRISES}.534.6.6.6": ""},
        ),
        "eaton_pulizzi": OutletRow(
            about="Eaton/Pulizzi Switched ePDU (blue display)",
            base=f"{ENTERPRISES}.20677.2",
            control=".6.2.{n+1}.0",
            on=1,
            off=2,
            status=".6.3.{n}.0",
            lags=True,
            name=".6.1.{n}.1.0",
            inlets=(Inlet(volts=".8.6.4.1.0", amps=".8.6.4.2.0", kind="pdu"),),
            labels=Labels("Eaton", model=".1.1.0"),
            systems={f"{ENTERPRISES}.20677.1": "", f"{ENTERPRISES}.20677.2": ""},
        ),
        "eaton_nlogic": OutletRow(
            about="Eaton ePDU nLogic",
            base=f"{ENTERPRISES}.534.7.1",
            control=".5.2.1.10.{pdu}.{n}",
            on=2,
            off=1,
            status=".5.2.1.1.{pdu}.{n}",
            pending=(
                3,
                4,
            ),
            parts={"pdu": 1},
            lags=True,
            name=".5.1.1.2.{pdu}.{n}",
            meter=Meter(watts=".5.1.1.13.{pdu}.{n}", amps=Scaled(".5.1.1.5.{pdu}.{n}", 0.01)),
            inlets=(Inlet(watts=".2.1.1.5.{pdu}", amps=Scaled(".2.1.1.11.{pdu}", 0.01), kind="pdu"),),
            labels=Labels("Eaton", model=".1.2.1.3.{pdu}", serial=".1.2.1.8.{pdu}", firmware=".1.2.1.5.{pdu}"),
            systems={f"{ENTERPRISES}.534.7.1": ""},
        ),
    }
