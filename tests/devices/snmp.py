# SPDX-License-Identifier: MIT
"""Any PDU with an object for each outlet, as the configuration says; here the table of an APC MasterSwitch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.devices.base.device import Case, Mood
from tests.devices.base.snmp import MASTERSWITCH, PASSPHRASE, USER, Agent, answering

NAMES = ["snmpv1", "snmpv2c", "snmpv3"]
MOODS = [mood for mood in Mood if mood is not Mood.GONE]  # a UDP port that nobody has is as silent as a deaf agent
TABLE = replace(MASTERSWITCH, bad_ports=("x", "1..2", "-1", "1;2"))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run an agent; the PDU of the configuration is its sPDUOutletCtl table."""
    settings = {"oid": f".{TABLE.control.replace('{n}', '*')}", "onsetting": "1", "offsetting": "2"}
    if name == "snmpv3":
        settings |= {"username": USER, "authpassphrase": PASSPHRASE, "auth_protocol": "USM_AUTH_HMAC96_SHA"}
    with answering(Agent(mood, TABLE), name, mood, **settings) as made:
        yield made
