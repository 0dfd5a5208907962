# SPDX-License-Identifier: MIT
"""Server Technology Switched and Smart CDU (Sentry3), PRO1 and PRO2 (Sentry4), by SNMP.

Source: Sentry3-MIB, Sentry4-MIB; recordings of a CWG-30V and of a PRO2, without states.
Tested: against a recording of a real device (``sentry4``, ``sentry3``), and a fake with the outlets of each row.
Quirks: outlets are counted anew in each infeed or cord: a port is tower.infeed.outlet (unit.cord.outlet), or the number
of an outlet of the first. An outlet without a name has its ID.

    "192.0.2.71": {"driver": "sentry4", "community": "private"}
"""

from __future__ import annotations

from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.power import State


class Sentry(SNMPDriver):
    """What Server Technology makes."""

    models = {
        "sentry4": OutletRow(
            about="Server Technology PRO1, PRO2 (Sentry4)",
            base=f"{ENTERPRISES}.1718.4.1",
            control=".8.5.1.2.{unit}.{cord}.{n}",
            on=1,
            off=2,
            status=".8.3.1.1.{unit}.{cord}.{n}",
            parts={"unit": 1, "cord": 1},
            name=(".8.2.1.3.{unit}.{cord}.{n}", ".8.2.1.2.{unit}.{cord}.{n}"),
            meter=Meter(
                watts=".8.3.1.7.{unit}.{cord}.{n}",
                volts=Scaled(".8.3.1.6.{unit}.{cord}.{n}", 0.1),
                amps=Scaled(".8.3.1.3.{unit}.{cord}.{n}", 0.01),
                watt_hours=".8.3.1.14.{unit}.{cord}.{n}",
            ),
            inlets=(
                Inlet(watts=".3.3.1.3.{unit}.{cord}", watt_hours=Scaled(".3.3.1.10.{unit}.{cord}", 100), kind="pdu"),
                Inlet(
                    watts=".5.3.1.8.{unit}.{cord}.{i}",
                    volts=Scaled(".5.3.1.3.{unit}.{cord}.{i}", 0.1),
                    amps=Scaled(".5.3.1.6.{unit}.{cord}.{i}", 0.01),
                    kind="phase",
                ),
                Inlet(amps=Scaled(".4.3.1.3.{unit}.{cord}.{i}", 0.01), kind="phase", name="line"),
            ),
            labels=Labels("Server Technology", model=".2.2.1.5.{unit}", serial=".2.2.1.4.{unit}", firmware=".1.1.3.0"),
            systems={f"{ENTERPRISES}.1718.4": ""},
        ),
        "sentry3": OutletRow(
            about="Server Technology Switched/Smart CDU (Sentry3)",
            base=f"{ENTERPRISES}.1718.3",
            control=".2.3.1.11.{tower}.{infeed}.{n}",
            on=1,
            off=2,
            status=".2.3.1.5.{tower}.{infeed}.{n}",
            states={1: State.ON, 0: State.OFF},
            pending=(
                2,
                3,
                7,
            ),
            parts={"tower": 1, "infeed": 1},
            name=(".2.3.1.3.{tower}.{infeed}.{n}", ".2.3.1.2.{tower}.{infeed}.{n}"),
            meter=Meter(
                watts=".2.3.1.14.{tower}.{infeed}.{n}",
                volts=Scaled(".2.3.1.13.{tower}.{infeed}.{n}", 0.1),
                amps=Scaled(".2.3.1.7.{tower}.{infeed}.{n}", 0.01),
                watt_hours=".2.3.1.18.{tower}.{infeed}.{n}",
            ),
            inlets=(
                Inlet(watts=".1.6.0", kind="pdu"),
                Inlet(
                    watts=".2.1.1.11.{tower}", watt_hours=Scaled(".2.1.1.14.{tower}", 1000), kind="pdu", name="tower"
                ),
                Inlet(
                    watts=".2.2.1.12.{tower}.{infeed}",
                    volts=Scaled(".2.2.1.11.{tower}.{infeed}", 0.1),
                    amps=Scaled(".2.2.1.7.{tower}.{infeed}", 0.01),
                    watt_hours=Scaled(".2.2.1.16.{tower}.{infeed}", 100),
                    kind="phase",
                ),
            ),
            labels=Labels("Server Technology", model=".2.1.1.7.{tower}", serial=".2.1.1.6.{tower}", firmware=".1.1.0"),
            systems={f"{ENTERPRISES}.1718.3": ""},
        ),
    }
