# SPDX-License-Identifier: MIT
"""CyberPower PDUs: eight outlets, SET at one object and read at another, where the state may lag."""

from __future__ import annotations

from tests.devices.base import snmp

COMMAND = "1.3.6.1.4.1.3808.1.1.3.3.3.1.1.4.{n}"
STATE = "1.3.6.1.4.1.3808.1.1.3.3.5.1.1.4.{n}"
TABLES = dict.fromkeys(["cyberpower81001", "cyberpower41001"], snmp.Table(COMMAND, on=1, off=2, status=STATE))

NAMES = [*TABLES]
MOODS = snmp.MOODS
case = snmp.case_of(TABLES)
