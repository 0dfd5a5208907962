# SPDX-License-Identifier: MIT
"""Rows: the shapes that the tables of families have. Those here are not registered: no configuration may name them."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.snmp.generic import SNMP
from pdudaemon.drivers.snmpoutlet import OutletRow, Put, SNMPDriver
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmp import OID, Community, Syntax, User
from tests.devices.base import snmp as fake
from tests.peers.snmp import AUTH, Snmpd
from tests.support import snmpmessage as wire
from tests.support.action import begun
from tests.support.patience import with_patience

E = "1.3.6.1.4.1"
CTL = f"{E}.318.1.1.4.4.2.1.3"
RPDU2_CONTROL = f"{E}.318.1.1.26.9.2.4.1.5"
RPDU2_STATUS = f"{E}.318.1.1.26.9.2.3.1.5"


class Rows(SNMPDriver):
    """A family that is nothing but rows."""


ON, OFF = State.ON, State.OFF
Rows.models = {
    "eaton_epdu": OutletRow(
        on=(Put(f"{E}.534.6.6.7.6.6.1.4.{{strap}}.{{n}}", 0),),
        off=(Put(f"{E}.534.6.6.7.6.6.1.3.{{strap}}.{{n}}", 0),),
        status=f"{E}.534.6.6.7.6.6.1.2.{{strap}}.{{n}}",
        states={1: ON, 0: OFF},
        pending=(2, 3),
        parts={"strap": 0},
        version="1",
    ),
    "apc_rpdu2": OutletRow(RPDU2_CONTROL + ".{n}", 1, 2, RPDU2_STATUS + ".{n}", {2: ON, 1: OFF}, outlets=8),
    "digipower": OutletRow(f"{E}.17420.1.2.9.{{pdu}}.13.0", parts={"pdu": 1}, syntax=Syntax.OCTETS, separator=","),
    "gauge": OutletRow(f"{E}.99999.7.{{n}}", 1, 0, syntax=Syntax.UNSIGNED),
    "shifted": OutletRow(f"{E}.99999.7.{{n+1}}", 1, 0, first=0, outlets=8, syntax=Syntax.UNSIGNED),
    "user": OutletRow(CTL + ".{n}", 1, 2, version="3"),
    "write_only": OutletRow(CTL + ".{n}", 1, 2, status=""),
}


def by_row(name: str, port: int, **settings: Any) -> Rows:
    made = Rows("127.0.0.1", {"driver": name, "snmpport": port, **settings})
    assert Rows.faults(made.settings) == {}
    return begun(made, 60)


@pytest.mark.parametrize(
    ("name", "port", "outlet"),
    [
        ("eaton_epdu", 6, "6"),
        ("eaton_epdu", "0.7", "7"),
        ("apc_rpdu2", 6, "6"),
        ("digipower", 6, "6"),
        ("digipower", "1.7", "7"),
        ("gauge", 6, "6"),
        ("shifted", 6, "7"),
    ],
)
def test_the_shapes_of_rows(net_snmp: Snmpd, name: str, port: int | str, outlet: str) -> None:
    for n in net_snmp.outlets:
        net_snmp.flip(n, "off")
    net_snmp.flip("8", "on")
    others = {n: state for n, state in net_snmp.outlets.items() if n != outlet}
    made = by_row(name, net_snmp.port)
    for state in ("on", "off", "on"):
        made.handle(state, port)
        assert net_snmp.outlets == {**others, outlet: state}
        assert made.handle("status", port) is State(state)
    net_snmp.flip(outlet, "off")
    assert made.handle("status", port) is State.OFF


EATON = f"{E}.534.6.6.7.6.6.1"
TABLES = {  # the same, typed from the facts sheets
    "eaton_epdu": fake.Table(
        on=(f"{EATON}.4.{{n}}", 0),
        off=(f"{EATON}.3.{{n}}", 0),
        status=f"{EATON}.2.{{n}}",
        states={1: "on", 0: "off"},
        ports={"1": "0.1", "0.7": "0.7"},
    ),
    "apc_rpdu2": fake.Table(f"{RPDU2_CONTROL}.{{n}}", status=f"{RPDU2_STATUS}.{{n}}", states={2: "on", 1: "off"}),
    "gauge": fake.Table(f"{E}.99999.7.{{n}}", off=0, kind=wire.UNSIGNED),
    "shifted": fake.Table(f"{E}.99999.7.{{n}}", off=0, kind=wire.UNSIGNED, ports={"0": "1", "7": "8"}),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_shapes_of_rows_and_the_agent_by_their_tables(name: str) -> None:
    with fake.Agent(again=True, table=TABLES[name]) as agent:
        made = by_row(name, agent.port, community=fake.COMMUNITY)
        for port in agent.outlets:
            for state in ("on", "off", "on"):
                made.handle(state, port)
                assert agent.outlets[port] == state
                assert made.handle("status", port) is State(state)
                assert [*agent.outlets.values()].count("on") == [*agent.outlets].index(port) + (state == "on")


def test_a_pending_state_is_read_until_it_has_settled(net_snmp: Snmpd) -> None:
    made = by_row("eaton_epdu", net_snmp.port)
    made.handle("off", 6)
    (net_snmp.folder / "pending").write_text("1")
    begun = time.monotonic()
    assert made.handle("status", 6) is State.OFF
    assert 0.4 < time.monotonic() - begun < 20
    (net_snmp.folder / "pending").write_text("9999")

    def attempt(seconds: float) -> None:
        made.deadline = Deadline(seconds)
        assert made.handle("status", 6) is State.UNKNOWN

    with_patience(attempt, 0.8)
    (net_snmp.folder / "pending").write_text("0")


def test_an_outlet_that_the_string_does_not_have(net_snmp: Snmpd) -> None:
    made = by_row("digipower", net_snmp.port)
    for action in ("on", "status"):
        with pytest.raises(PermanentError, match="there is no outlet 9: the device has 8"):
            made.handle(action, 9)


class Absent(fake.Agent):
    """Has one string, in which its second outlet is absent."""

    def respond(self, pdu: wire.PDU, version: int) -> wire.PDU:
        self.pdus.append(pdu)
        return pdu.answered(0, (wire.OCTETS, b"1,-1,0"))


def test_an_outlet_that_is_absent() -> None:
    with Absent() as agent:
        made = by_row("digipower", agent.port, community=fake.COMMUNITY)
        with pytest.raises(PermanentError, match="outlet 2 cannot be switched: the device has '-1' for it"):
            made.handle("on", 2)
        assert made.handle("status", 2) is State.UNKNOWN
        assert {pdu.tag for pdu in agent.pdus} == {wire.GET}


def test_the_login_of_a_row() -> None:
    assert by_row("gauge", 1).login() == Community("private", "2c")
    assert by_row("eaton_epdu", 1).login() == Community("private", "1")
    assert by_row("eaton_epdu", 1, version="2C", community="other").login() == Community("other", "2c")
    assert by_row("user", 1, username="me").login() == User("me")
    assert by_row("gauge", 1, version=3, username="me", authpassphrase=AUTH).login() == User("me", AUTH)
    assert Rows.faults({"driver": "user"}) == {"username": "is missing: user of SNMPv3"}


def test_a_row_that_cannot_be_read() -> None:
    assert not Rows.reads_state({"driver": "write_only"})
    with pytest.raises(PermanentError, match="cannot be read"):
        by_row("write_only", 1).handle("status", 1)


def test_the_ports_of_rows() -> None:
    for name, good, bad in (
        ("eaton_epdu", {"06": "6", "0.6": "6", "00.06": "6", "1.6": "1.6"}, ["0", "1.2.6", "x"]),
        ("apc_rpdu2", {"1": "1", "8": "8"}, ["0", "9", "1.1"]),
        ("shifted", {"0": "0", "7": "7"}, ["8"]),
    ):
        settings = {"driver": name}
        assert {port: Rows.canonical_port(port, settings) for port in good} == good
        for port in bad:
            with pytest.raises(ValueError, match=re.escape(repr(port))):
                Rows.canonical_port(port, settings)


@pytest.mark.parametrize("name", strategies.names())
def test_every_row_makes_whole_oids(name: str) -> None:
    row = getattr(strategies.find(name), "models", {}).get(name)
    if isinstance(row, OutletRow) and strategies.find(name) is not SNMP:
        for variant in [] if name == "snmp" else row.variants or (row,):
            each = replace(variant, base=variant.base.replace("{m}", "81"))
            parts = [str(1 if usual is None else usual) for usual in each.parts.values()]
            port = ".".join([*parts, str(each.first)])
            oids = [put.oid for put in (*each.puts("on", port), *each.puts("off", port))]
            for oid in [*oids, *([each.filled(each.status, port)] if each.status else [])]:
                assert OID.fullmatch(oid), oid
