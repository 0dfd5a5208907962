# SPDX-License-Identifier: MIT
"""Any PDU with an object for each outlet, as the configuration says; here the table of an APC MasterSwitch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.devices.base.device import Case, Mood
from tests.devices.base.snmp import MASTERSWITCH, PASSPHRASE, USER, Agent, Table, answering
from tests.support.snmpmessage import oid, parts


class Introduced(Table):
    """A table of a device that says who it is."""

    def scenery(self) -> dict[str, tuple[int, bytes]]:
        return {"1.3.6.1.2.1.1.2.0": parts(oid("1.3.6.1.4.1.318.1.3.4.2"))[0]}


NAMES = ["snmpv1", "snmpv2c", "snmpv3", "snmp"]
MOODS = [mood for mood in Mood if mood is not Mood.GONE]  # a UDP port that nobody has is as silent as a deaf agent
FOUND = Introduced(MASTERSWITCH.control, bad_ports=("x", "1..2", "-1", "1;2"))
TABLE = replace(MASTERSWITCH, bad_ports=("x", "1..2", "-1", "1;2"))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run an agent; the PDU of the configuration is its sPDUOutletCtl table."""
    if name == "snmp":
        with answering(Agent(mood, FOUND, again=True), name, mood) as made:
            made.identity = ("APC", "", "", "", "apc_masterswitch")
            yield made
        return
    settings = {"oid": f".{TABLE.control.replace('{n}', '*')}", "onsetting": "1", "offsetting": "2"}
    if name == "snmpv3":
        settings |= {"username": USER, "authpassphrase": PASSPHRASE, "auth_protocol": "USM_AUTH_HMAC96_SHA"}
    with answering(Agent(mood, TABLE, again=name != "snmpv3"), name, mood, **settings) as made:
        yield made
