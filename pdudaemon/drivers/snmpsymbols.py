# SPDX-License-Identifier: MIT
"""The MIB objects that configurations name, with their OIDs: no MIB is read and none is fetched.

Not a driver: data of `pdudaemon.drivers.snmp`. To these OIDs the index of the outlet is appended.

Source: the MIBs named. Tested: the OIDs against none of the devices.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pdudaemon.power import State

ON, OFF = State.ON, State.OFF

_ENTERPRISES = "1.3.6.1.4.1"
_APC = f"{_ENTERPRISES}.318.1.1"
_ATEN = f"{_ENTERPRISES}.21317.1.3.2.2.2.2"
_PULIZZI = f"{_ENTERPRISES}.20677.2.6"
_ONE_ON_TWO_OFF: Mapping[int | str, State] = {1: ON, 2: OFF}


@dataclass(frozen=True)
class Column:
    """A column of outlets: the values that switch, and where and how the state is read.

    ``status`` None is the column itself; empty: the state cannot be read by it. ``states`` are the values read.
    """

    oid: str
    on: int
    off: int
    status: str | None = None
    states: Mapping[int | str, State] = field(default_factory=dict)
    pending: Collection[int] = ()


SYMBOLS: dict[tuple[str, str], Column] = {
    ("PowerNet-MIB", "sPDUOutletCtl"): Column(f"{_APC}.4.4.2.1.3", 1, 2, None, _ONE_ON_TWO_OFF),
    ("PowerNet-MIB", "rPDUOutletControlOutletCommand"): Column(
        f"{_APC}.12.3.3.1.1.4", 1, 2, f"{_APC}.12.3.5.1.1.4", _ONE_ON_TWO_OFF
    ),
    ("PowerNet-MIB", "rPDU2OutletSwitchedControlCommand"): Column(
        f"{_APC}.26.9.2.4.1.5", 1, 2, f"{_APC}.26.9.2.3.1.5", {2: ON, 1: OFF}
    ),
    ("PowerNet-MIB", "sPDUOutletControlMSPOutletCommand"): Column(
        f"{_APC}.6.5.1.1.5", 1, 3, f"{_APC}.6.7.1.1.5", _ONE_ON_TWO_OFF
    ),
    ("PowerNet-MIB", "sPDUMasterControlSwitch"): Column(f"{_APC}.4.2.1", 1, 3, ""),
    ("CPS-MIB", "ePDUOutletControlOutletCommand"): Column(
        f"{_ENTERPRISES}.3808.1.1.3.3.3.1.1.4", 1, 2, f"{_ENTERPRISES}.3808.1.1.3.3.5.1.1.4", _ONE_ON_TWO_OFF
    ),
    ("CPS-MIB", "ePDU2OutletSwitchedControlCommand"): Column(
        f"{_ENTERPRISES}.3808.1.1.6.6.1.5.1.5", 1, 2, f"{_ENTERPRISES}.3808.1.1.6.6.1.4.1.5", _ONE_ON_TWO_OFF
    ),
    ("POWER-ETHERNET-MIB", "pethPsePortAdminEnable"): Column("1.3.6.1.2.1.105.1.1.1.3", 1, 2, None, _ONE_ON_TWO_OFF),
    ("IF-MIB", "ifAdminStatus"): Column("1.3.6.1.2.1.2.2.1.7", 1, 2, None, _ONE_ON_TWO_OFF),
    ("RFC1213-MIB", "ifAdminStatus"): Column("1.3.6.1.2.1.2.2.1.7", 1, 2, None, _ONE_ON_TWO_OFF),
    ("Sentry3-MIB", "outletControlAction"): Column(
        f"{_ENTERPRISES}.1718.3.2.3.1.11", 1, 2, f"{_ENTERPRISES}.1718.3.2.3.1.5", {1: ON, 0: OFF}, (2, 3, 7)
    ),
    ("Sentry4-MIB", "st4OutletControlAction"): Column(
        f"{_ENTERPRISES}.1718.4.1.8.5.1.2", 1, 2, f"{_ENTERPRISES}.1718.4.1.8.3.1.1", _ONE_ON_TWO_OFF
    ),
    ("PDU2-MIB", "switchingOperation"): Column(
        f"{_ENTERPRISES}.13742.6.4.1.2.1.2", 1, 0, f"{_ENTERPRISES}.13742.6.4.1.2.1.3", {7: ON, 8: OFF}
    ),
    ("PDU-MIB", "outletOperationalState"): Column(
        f"{_ENTERPRISES}.13742.4.1.2.2.1.3", 1, 0, None, {1: ON, 0: OFF}, (2,)
    ),
    ("EATON-OIDS", "outletOperationalState"): Column(
        f"{_ENTERPRISES}.534.6.6.6.1.2.2.1.3", 1, 0, None, {1: ON, 0: OFF}, (2,)
    ),
    **{
        ("ATEN-PE-CFG", f"outlet{n}Status"): Column(
            f"{_ATEN}.{n + 1 if n <= 8 else n + 2}", 2, 1, None, {2: ON, 1: OFF}, (3, 4)
        )
        for n in range(1, 25)
    },
    **{
        ("Pulizzi", f"outlet{n}Command"): Column(f"{_PULIZZI}.2.{n + 1}", 1, 2, f"{_PULIZZI}.3.{n}", _ONE_ON_TWO_OFF)
        for n in range(1, 25)
    },
}
"""(MIB, object) -> column; an object of which there is one for each outlet stands here once for each."""

NAMELESS = (
    Column(
        f"{_ENTERPRISES}.10418.17.2.5.5.1.6",
        2,
        3,
        f"{_ENTERPRISES}.10418.17.2.5.5.1.5",
        {2: ON, 4: ON, 10: ON, 1: OFF, 3: OFF, 11: OFF},
        (5, 6, 7, 8),
    ),
    Column(f"{_ENTERPRISES}.850.10.2.3.5.1.4", 2, 1, f"{_ENTERPRISES}.850.10.2.3.5.1.2", {2: ON, 1: OFF}),
    Column(f"{_ENTERPRISES}.850.1.1.3.2.3.3.1.1.6", 2, 1, f"{_ENTERPRISES}.850.1.1.3.2.3.3.1.1.4", {2: ON, 1: OFF}),
)
"""Columns given by ``oid`` only (Avocent PM, Tripp Lite SNMPWEBCARD and WEBCARDLX), for where their state is read."""


def column_of(oid: str) -> Column | None:
    """Return the column that an object, given by its whole OID, belongs to, if it is one of these."""
    return next((column for column in (*SYMBOLS.values(), *NAMELESS) if oid.startswith(f"{column.oid}.")), None)
