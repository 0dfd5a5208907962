# SPDX-License-Identifier: MIT
"""Chatsworth eConnect, by SNMP.

Source: CPI-UNITY-MIB; a recording of two PDUs with 60 outlets.
Tested: against a recording of a real device (``cpi_econnect``), and a fake with the outlets of each row.
Quirks: outlets are told apart by the MAC address of their PDU, which follows their number in each object: with several
linked PDUs the setting ``mac`` says of which. What the device calls power is VA, so there are no watts.

    "192.0.2.71": {"driver": "cpi_econnect", "community": "private", "mac": "00A0B0000001"}
"""

from __future__ import annotations

import re

from pdudaemon.drivers.snmpfinder import Fitting
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import ENTERPRISES, Inlet, Labels, Meter, OutletRow, Scaled
from pdudaemon.errors import PermanentError
from pdudaemon.settings import Kind, Setting

_BASE = f"{ENTERPRISES}.30932.1.10.1"
_OUTLETS = f"{_BASE}.2.10.1.9.12"  # how many each PDU has, by its MAC address


def _address(value: object) -> str:
    mac = re.sub("[:.-]", "", str(value)).upper()
    if not re.fullmatch("[0-9A-F]{12}", mac):
        raise ValueError(f"{value!r} is not a MAC address")
    return mac


def _row(mac: str) -> OutletRow:
    """Return the row of the PDU with a MAC address, given as its 12 capital digits."""
    which = ".".join(["12", *(str(ord(digit)) for digit in mac)])
    outlet = f".4.10.1.{{}}.{{{{n}}}}.{which}".format
    return OutletRow(
        about="Chatsworth eConnect",
        base=_BASE,
        control=outlet(11),
        on=1,
        off=0,
        name=outlet(4),
        meter=Meter(
            volts=Scaled(outlet(7), 0.1), amps=Scaled(outlet(6), 0.01), watt_hours=Scaled(outlet(10), 0.0027778)
        ),
        inlets=(
            Inlet(
                volts=Scaled(f".3.110.1.5.{{i}}.{which}", 0.1),
                amps=Scaled(f".3.110.1.3.{{i}}.{which}", 0.01),
                kind="phase",
                name="branch",
            ),
        ),
        labels=Labels(
            "Chatsworth", model=f".2.10.1.2.{which}", serial=f".2.10.1.18.{which}", firmware=f".2.10.1.11.{which}"
        ),
        systems={f"{ENTERPRISES}.30932": "", "=0.10.43.6.1.4.1": "Epicenter"},
    )


class Chatsworth(SNMPDriver):
    """The PDU's MAC address is found out, unless there are several."""

    models = {"cpi_econnect": _row("0" * 12)}

    mac = Setting(Kind("MAC address", _address), "", "MAC address of the PDU, where several are linked")

    def _fitting(self) -> Fitting:
        if self._found is None:
            mac = self.mac
            if not mac:
                (found,) = self._agent().columns([_OUTLETS], self.deadline)
                macs = ["".join(map(chr, arcs)) for arcs in found]
                if len(macs) != 1:
                    told = ", ".join(each for each in macs if each.isalnum()) or "none"
                    raise PermanentError(f"the setting mac must say which PDU it is; the device has {told}")
                mac = macs[0]
            self._found = Fitting("cpi_econnect", _row(mac))
        return self._found
