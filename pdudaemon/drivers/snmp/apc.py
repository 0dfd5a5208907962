# SPDX-License-Identifier: MIT
"""APC and Schneider Electric rack PDUs, by SNMP: AP78xx and AP79xx, AP84xx to AP89xx, APDU99xx, MasterSwitch, Easy
PDU, NetShelter advanced.

Source: PowerNet-MIB; recordings of AP7900B, AP7902B, AP8641, AP8853, AP8932, AP8959EU3, AP9606, APDU9959, APDU10150SM,
EPDU1116S.
Tested: against a recording of a real device (``apc_rpdu2``, ``apc_masterswitch``, ``apc_cpdu``), and a fake with the
outlets of each row.
Quirks: a command is answered when it is queued, so the state is read back. AP79xxB have two trees, and watts in
``apc_rpdu`` alone. Of a NetShelter advanced, 64 slots answer; those without an outlet are no outlets. Outlets of linked
units run on in one index.

    "192.0.2.71": {"driver": "apc_rpdu2", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class APC(SNMPDriver):
    """What APC makes."""

    models = {
        "apc_rpdu2": OutletRow(
            about="APC Rack PDU 2G and NMC3 (AP84xx to AP89xx, AP79xxB, APDU99xx)",
            base=f"{ENTERPRISES}.318.1.1.26",
            control=".9.2.4.1.5.{n}",
            on=1,
            off=2,
            status=".9.2.3.1.5.{n}",
            states={2: State.ON, 1: State.OFF},
            lags=True,
            name=".9.2.3.1.3.{n}",
            meter=Meter(
                watts=".9.4.3.1.7.{n}", amps=Scaled(".9.4.3.1.6.{n}", 0.1), watt_hours=Scaled(".9.4.3.1.11.{n}", 100)
            ),
            inlets=(
                Inlet(watts=Scaled(".4.3.1.5.{u}", 10), watt_hours=Scaled(".4.3.1.9.{u}", 100), kind="pdu"),
                Inlet(
                    watts=Scaled(".6.3.1.7.{i}", 10),
                    volts=".6.3.1.6.{i}",
                    amps=Scaled(".6.3.1.5.{i}", 0.1),
                    kind="phase",
                ),
                Inlet(amps=Scaled(".8.3.1.5.{i}", 0.1), kind="bank"),
                Inlet(watts=Scaled(".11.2.0", 10), watt_hours=Scaled(".11.3.0", 100), kind="pdu", name="group"),
            ),
            labels=Labels("APC", model=".2.1.8.{u}", serial=".2.1.9.{u}", firmware=".2.1.6.{u}"),
            systems={f"{ENTERPRISES}.318.1.3.4.6": "", f"{ENTERPRISES}.318.1.3.4.8": ""},
        ),
        "apc_rpdu": OutletRow(
            about="APC Rack PDU gen 1 (AP78xx, AP79xx); also AP79xxB, AP86xx, AP88xx, AP89xx, APDU99xx",
            base=f"{ENTERPRISES}.318.1.1.12",
            control=".3.3.1.1.4.{n}",
            on=1,
            off=2,
            status=".3.5.1.1.4.{n}",
            version="1",
            lags=True,
            name=".3.5.1.1.2.{n}",
            meter=Meter(amps=Scaled(".3.5.1.1.7.{n}", 0.1)),
            inlets=(
                Inlet(watts=".1.16.0", kind="pdu"),
                Inlet(amps=Scaled(".2.3.1.1.2.{i}", 0.1), kind="phase"),
            ),
            labels=Labels("APC", model=".1.5.0", serial=".1.6.0", firmware=".1.3.0"),
            systems={
                f"{ENTERPRISES}.318.1.3.4.5": "",
                f"{ENTERPRISES}.318.1.3.4.6": "",
                f"{ENTERPRISES}.318.1.3.4.8": "",
            },
        ),
        "apc_masterswitch": OutletRow(
            about="APC MasterSwitch (AP9606, AP9210...); tree answered by every APC rack PDU seen",
            base=f"{ENTERPRISES}.318.1.1.4",
            control=".4.2.1.3.{n}",
            on=1,
            off=2,
            version="1",
            lags=True,
            name=".4.2.1.4.{n}",
            labels=Labels("APC", model=".1.4.0", serial=".1.5.0", firmware=".1.2.0"),
            systems={
                f"{ENTERPRISES}.318.1.3.4.1": "",
                f"{ENTERPRISES}.318.1.3.4.2": "",
                f"{ENTERPRISES}.318.1.3.4.7": "",
                f"{ENTERPRISES}.318": "PDU",
            },
        ),
        "apc_masterswitch_vm": OutletRow(
            about="APC MasterSwitch VM (vertical, up to 4 chained)",
            base=f"{ENTERPRISES}.318.1.1.5",
            control=".5.1.1.5.{vm}.{n}",
            on=1,
            off=2,
            status=".7.1.1.5.{vm}.{n}",
            parts={"vm": 1},
            version="1",
            lags=True,
            name=".5.1.1.4.{vm}.{n}",
            labels=Labels("APC", model=".1.2.1.6.{vm}", serial=".1.2.1.7.{vm}", firmware=".1.2.1.4.{vm}"),
            systems={f"{ENTERPRISES}.318.1.3.4.3": ""},
        ),
        "apc_masterswitchplus": OutletRow(
            about="APC MasterSwitch Plus AP9225",
            base=f"{ENTERPRISES}.318.1.1.6",
            control=".5.1.1.5.{msp}.{n}",
            on=1,
            off=3,
            status=".7.1.1.5.{msp}.{n}",
            states={1: State.ON, 2: State.OFF},
            parts={"msp": 1},
            version="1",
            lags=True,
            name=".7.1.1.4.{msp}.{n}",
            labels=Labels("APC", model=".1.2.1.6.{msp}", serial=".1.2.1.7.{msp}", firmware=".1.2.1.4.{msp}"),
            systems={f"{ENTERPRISES}.318.1.3.4.4": ""},
        ),
        "apc_easypdu": OutletRow(
            about="APC Easy PDU (EPDU10xx, 11xx)",
            base=f"{ENTERPRISES}.318.1.1.30",
            control=".6.2.1.4.{n}",
            on=1,
            off=2,
            status=".6.1.1.4.{n}",
            states={2: State.ON, 1: State.OFF},
            lags=True,
            inlets=(
                Inlet(watts=".2.1.1.7.{u}", watt_hours=".2.1.1.11.{u}", kind="pdu"),
                Inlet(
                    watts=".4.2.1.6.{i}",
                    volts=Scaled(".4.2.1.4.{i}", 0.1),
                    amps=Scaled(".4.2.1.5.{i}", 0.01),
                    watt_hours=".4.2.1.10.{i}",
                    kind="phase",
                ),
            ),
            labels=Labels("APC", model=".2.1.1.4.{u}", serial=".2.1.1.5.{u}", firmware=".2.1.1.3.{u}"),
            systems={f"{ENTERPRISES}.318.1.3.4.9": "", f"={ENTERPRISES}.0": "^$"},
        ),
        "apc_cpdu": OutletRow(
            about="APC/Schneider NetShelter advanced APDU10xxx (Enlogic platform)",
            base=f"{ENTERPRISES}.318.1.1.32",
            control=".5.5.1.4.{unit}.{n}",
            on=2,
            off=1,
            status=".5.4.1.4.{unit}.{n}",
            states={1: State.ON, 0: State.OFF},
            parts={"unit": 1},
            lags=True,
            name=".5.4.1.3.{unit}.{n}",
            only=(".5.4.1.2.{unit}.{n}", "[1-9][0-9]*"),
            meter=Meter(
                watts=".5.9.1.6.{unit}.{n}",
                amps=Scaled(".5.9.1.5.{unit}.{n}", 0.01),
                watt_hours=Scaled(".5.9.1.11.{unit}.{n}", 100),
            ),
            inlets=(
                Inlet(watts=".2.4.1.4.{unit}", watt_hours=Scaled(".2.4.1.9.{unit}", 100), kind="pdu"),
                Inlet(
                    watts=".3.4.1.7.{unit}.{i}",
                    volts=".3.4.1.6.{unit}.{i}",
                    amps=Scaled(".3.4.1.5.{unit}.{i}", 0.01),
                    kind="phase",
                ),
                Inlet(amps=Scaled(".4.4.1.5.{unit}.{i}", 0.01), kind="bank", name="breaker"),
            ),
            labels=Labels("APC", model=".1.2.1.11.{unit}", serial=".1.2.1.12.{unit}", firmware=".1.2.1.14.{unit}"),
            systems={f"{ENTERPRISES}.318.1.1.32.1": ""},
        ),
    }
