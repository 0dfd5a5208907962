# SPDX-License-Identifier: MIT
"""Whole tables of agents that nobody here wrote: names, states and meters, through the rows of drivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.drivers.snmp import found as found_out
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.power import State
from pdudaemon.probing import ask
from tests.devices import snmprows
from tests.peers.snmp import AUTH, PRIV, Snmpd, snmpd, snmpsim
from tests.peers.snmp_outlets import RPDU2, SPDU
from tests.support.action import begun
from tests.support.snmpmessage import COUNTER, INTEGER, OCTETS, UNSIGNED, number


@pytest.fixture(scope="module")
def rack_pdu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snmpd]:
    """Run net-snmp's agent as an APC Rack PDU 2G."""
    with snmpd(tmp_path_factory.mktemp("snmpd") / "agent", object_id=RPDU2) as running:
        yield running


PRIVATE = {"community": "private"}
USER = {"version": "3", "username": "sha256_aes", "authpassphrase": AUTH, "privpassphrase": PRIV}
USER |= {"auth_protocol": "USM_AUTH_HMAC192_SHA256", "priv_protocol": "USM_PRIV_CFB128_AES"}


def driver(port: int, word: str, **settings: Any) -> SNMPDriver:
    made = strategies.find(word)("127.0.0.1", {"driver": word, "snmpport": port, **settings})
    assert isinstance(made, SNMPDriver)
    return begun(made, 60)


@pytest.mark.parametrize("word", ["apc_rpdu2", "snmp"])
@pytest.mark.parametrize("login", [{**PRIVATE, "version": "1"}, PRIVATE, USER], ids=["v1", "v2c", "v3"])
def test_names_and_watts_of_net_snmp(rack_pdu: Snmpd, word: str, login: dict[str, Any]) -> None:
    made = driver(rack_pdu.port, word, **login)
    made.handle("on", 3)
    told = made.read_outlets()
    assert rack_pdu.outlets["3"] == "on"
    made.handle("off", 3)
    states = [State.ON if n == 3 else State.OFF for n in range(1, 9)]
    assert told == [
        OutletReading(
            str(n), f"board {n}", state, watts=100 + n, amps=pytest.approx(1 + n / 10), watt_hours=100000 + 100 * n
        )
        for n, state in enumerate(states, 1)
    ]
    found = "apc_rpdu2" if word == "snmp" else ""
    assert made.identify() == Identity("APC", "AP8941", driver=found)


def test_net_snmp_is_probed(rack_pdu: Snmpd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_out, "_PATIENCE", 20.0)
    before = rack_pdu.outlets
    (found,) = ask(f"127.0.0.1:{rack_pdu.port}", ["public"]).found
    assert found.settings == {"driver": "apc_rpdu2", "snmpport": rack_pdu.port}
    assert found.identity == Identity("APC", "AP8941") and [each.name for each in found.outlets][7] == "board 8"
    assert rack_pdu.outlets == before


TOLD = {  # as the devices told it
    "apc_rpdu2": OutletReading("1", "Outlet 1", State.ON, watts=163, amps=0.9, watt_hours=304600),
    "raritan_px2": OutletReading("1", "1", None, 143, 228, 0.633, 5812658),
    "aten_pe": OutletReading("9", "09", State.ON, 113.306, 238.23, 0.56, 608046),
}


def test_snmpsim_and_recordings_of_devices_by_it(tmp_path: Path) -> None:
    with snmpsim(tmp_path, {word: lines(word) for word in TOLD}) as port:
        made = driver(port, "snmpv1", **PRIVATE, oid=f"{SPDU}.*", onsetting=1, offsetting=2)
        made.handle("off", 1)
        assert made.handle("status", 1) is State.OFF
        for word, wanted in TOLD.items():
            made = driver(port, "snmp", community=word)
            assert wanted in made.read_outlets()
            identity = made.identify()
            assert identity is not None and identity.driver == word


def lines(word: str) -> list[str]:
    """Return a recording in the form of snmpsim."""
    object_id, about, objects = snmprows.RECORDINGS[word]
    descr = "Aten" if word == "aten_pe" else about
    said = {
        snmprows.SYS_DESCR: f"4|{descr}",
        snmprows.SYS_OBJECT_ID: f"6|{object_id}",
        **{
            oid: f"4x|{content.hex()}" if tag == OCTETS else f"{KINDS[tag]}|{number(content)}"
            for oid, (tag, content) in objects.items()
        },
    }
    return [f"{oid}|{said[oid]}" for oid in sorted(said, key=lambda oid: [*map(int, oid.split("."))])]


KINDS = {INTEGER: 2, COUNTER: 65, UNSIGNED: 66}
