# SPDX-License-Identifier: MIT
"""An Aviosys IP Power 9258 with eight outlets: one SNMP object for each, 1 on and 0 off."""

from __future__ import annotations

from tests.devices.base import snmp

TABLES = {"ip9258": snmp.Table("1.3.6.1.4.1.92.58.2.{n}.0", on=1, off=0)}

NAMES = [*TABLES]
MOODS = snmp.MOODS
case = snmp.case_of(TABLES)
