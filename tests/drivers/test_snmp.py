# SPDX-License-Identifier: MIT
"""The generic SNMP drivers: an object for each port, as the settings say."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.snmp.generic import SNMP
from pdudaemon.drivers.snmpoutlet import Put, SNMPDriver
from pdudaemon.drivers.snmpsymbols import SYMBOLS
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.transports.snmp import OID
from tests.devices import snmp as outlets
from tests.devices.base import snmp as fake
from tests.devices.base.device import Mood
from tests.peers.snmp import AUTH, PRIV, Snmpd
from tests.support.action import begun
from tests.support.process import ROOT, Daemon, eventually
from tests.support.snmpmessage import numbered, request_of

E = "1.3.6.1.4.1"
CTL = f"{E}.318.1.1.4.4.2.1.3"
RPDU2_CONTROL = f"{E}.318.1.1.26.9.2.4.1.5"
RPDU2_STATUS = f"{E}.318.1.1.26.9.2.3.1.5"


def driver(name: str, hostname: str = "127.0.0.1", seconds: float = 60, **settings: Any) -> SNMPDriver:
    whole = {"driver": name, **settings}
    made = strategies.find(name)(hostname, whole)
    assert isinstance(made, SNMPDriver)
    assert made.faults(whole) == {}
    return begun(made, seconds)


@pytest.mark.parametrize("name", outlets.NAMES)
def test_on_off_status(name: str) -> None:
    with outlets.case(name, Mood.WELL) as case:
        made = driver(hostname=case.hostname, name=case.settings.pop("driver"), **case.settings)
        made.handle("on", 3)
        assert case.device.outlets == {str(n): "on" if n == 3 else "off" for n in range(1, 9)}
        assert made.handle("status", 3) is State.ON
        case.device.outlets["3"] = "off"
        assert made.handle("status", "3") is State.OFF
        made.handle("on", "4")
        made.handle("off", "4")
        assert case.device.outlets["4"] == "off"


@pytest.mark.parametrize(
    ("name", "given", "sent"), [("snmpv1", {}, 1), ("snmpv1", {"version": "1"}, 0), ("snmpv2c", {}, 1)]
)
def test_the_version_that_is_sent(name: str, given: Mapping[str, Any], sent: int) -> None:
    with outlets.case(name, Mood.WELL) as case:
        made = driver(hostname=case.hostname, name=case.settings.pop("driver"), **case.settings, **given)
        made.handle("on", 3)
        assert case.device.versions == [sent]
        if sent == 0:
            with pytest.raises(PermanentError, match="noSuchName"):
                made.handle("on", 9)


def sample() -> list[tuple[bytes, bytes]]:
    """The conversation of the facts sheet: community private, outlet 3 is SET to 1 and read."""
    steps = json.loads((ROOT / "tests" / "data" / "snmp_v2c.json").read_text())
    return [(bytes.fromhex(step["tx"]), bytes.fromhex(step["rx"])) for step in steps]


def test_the_sample_conversation_and_the_driver() -> None:
    heard = []

    def answer(agent: socket.socket) -> None:
        for _, reply in sample():
            data, sender = agent.recvfrom(65535)
            while heard and request_of(data) == request_of(heard[-1]):  # sent again, since the answer was late
                data, sender = agent.recvfrom(65535)
            heard.append(data)
            agent.sendto(numbered(reply, request_of(data)), sender)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=answer, args=(agent,), daemon=True)
        thread.start()
        symbol = {"mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl", "onsetting": "1", "offsetting": 2}
        made = driver("snmpv1", community="private", snmpport=agent.getsockname()[1], **symbol)
        made.handle("on", 3)
        assert made.handle("status", 3) is State.ON
        thread.join(5)
    assert heard == [numbered(asked, request_of(data)) for (asked, _), data in zip(sample(), heard, strict=True)]


def test_the_sample_conversation_and_the_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "COMMUNITY", "private")
    with fake.Agent() as agent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(30)
        for asked, reply in sample():
            asking.sendto(asked, ("127.0.0.1", agent.port))
            assert asking.recv(65535) == reply


V2 = {"community": "private", "onsetting": 1, "offsetting": 2}


@pytest.mark.parametrize(
    ("settings", "port", "control", "status"),
    [
        ({"mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, "3", f"{CTL}.3", None),
        (
            {"mib": "PowerNet-MIB", "controlpoint": "rPDUOutletControlOutletCommand"},
            "3",
            f"{E}.318.1.1.12.3.3.1.1.4.3",
            f"{E}.318.1.1.12.3.5.1.1.4.3",
        ),
        (
            {"mib": "PowerNet-MIB", "controlpoint": "rPDU2OutletSwitchedControlCommand"},
            "24",
            f"{RPDU2_CONTROL}.24",
            f"{RPDU2_STATUS}.24",
        ),
        (
            {"mib": "PowerNet-MIB", "controlpoint": "sPDUOutletControlMSPOutletCommand"},
            "1.1.5",
            f"{E}.318.1.1.6.5.1.1.5.1.1.5",
            f"{E}.318.1.1.6.7.1.1.5.1.1.5",
        ),
        (
            {"mib": "CPS-MIB", "controlpoint": "ePDUOutletControlOutletCommand"},
            "8",
            f"{E}.3808.1.1.3.3.3.1.1.4.8",
            f"{E}.3808.1.1.3.3.5.1.1.4.8",
        ),
        (
            {"mib": "CPS-MIB", "controlpoint": "ePDU2OutletSwitchedControlCommand"},
            "8",
            f"{E}.3808.1.1.6.6.1.5.1.5.8",
            f"{E}.3808.1.1.6.6.1.4.1.5.8",
        ),
        ({"oid": ".1.3.6.1.2.1.105.1.1.1.3.1.*"}, "7", "1.3.6.1.2.1.105.1.1.1.3.1.7", None),
        (
            {"mib": "Sentry3-MIB", "controlpoint": "outletControlAction"},
            "1.2.5",
            f"{E}.1718.3.2.3.1.11.1.2.5",
            f"{E}.1718.3.2.3.1.5.1.2.5",
        ),
        (
            {"mib": "Sentry4-MIB", "controlpoint": "st4OutletControlAction"},
            "1.1.5",
            f"{E}.1718.4.1.8.5.1.2.1.1.5",
            f"{E}.1718.4.1.8.3.1.1.1.1.5",
        ),
        (
            {"mib": "PDU2-MIB", "controlpoint": "switchingOperation", "offsetting": 0},
            "1.5",
            f"{E}.13742.6.4.1.2.1.2.1.5",
            f"{E}.13742.6.4.1.2.1.3.1.5",
        ),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet*Status", "inside_number": "yes", "static_ending": "0"},
            "8",
            f"{E}.21317.1.3.2.2.2.2.9.0",
            None,
        ),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet*Status", "inside_number": True, "static_ending": 0},
            "9",
            f"{E}.21317.1.3.2.2.2.2.11.0",
            None,
        ),
        (
            {"mib": "Pulizzi", "controlpoint": "outlet*Command", "inside_number": 1, "static_ending": 0},
            "2",
            f"{E}.20677.2.6.2.3.0",
            f"{E}.20677.2.6.3.2.0",
        ),
        ({"oid": f"{RPDU2_CONTROL}.*"}, "3", f"{RPDU2_CONTROL}.3", f"{RPDU2_STATUS}.3"),
        ({"oid": f".{RPDU2_CONTROL}.*"}, "3", f"{RPDU2_CONTROL}.3", f"{RPDU2_STATUS}.3"),
        (
            {"oid": f"{E}.850.1.1.3.2.3.3.1.1.6.1.*"},
            "4",
            f"{E}.850.1.1.3.2.3.3.1.1.6.1.4",
            f"{E}.850.1.1.3.2.3.3.1.1.4.1.4",
        ),
        ({"oid": f"{E}.4711.*.2.*.0"}, "6", f"{E}.4711.6.2.6.0", None),
        ({"oid": f"{CTL}.*", "status_oid": f"{E}.4711.*"}, "6", f"{CTL}.6", f"{E}.4711.6"),
        ({"oid": f".{CTL}.*", "status_oid": f".{E}.4711.*"}, "6", f"{CTL}.6", f"{E}.4711.6"),
        ({"oid": "", "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, "3", f"{CTL}.3", None),
    ],
)
def test_where_a_port_is(settings: dict[str, Any], port: str, control: str, status: str | None) -> None:
    whole = {"driver": "snmpv2c", **V2, **settings}
    assert SNMP.faults(whole) == {}
    assert SNMP.canonical_port(port, whole) == port
    row = SNMP("pdu", whole).row_of(port)
    assert row.puts("on", port) == [Put(control, 1)]
    assert (row.status or control) == (status or control)
    assert SNMP.reads_state(whole)


@pytest.mark.parametrize(
    ("settings", "value", "state"),
    [
        ({"oid": f"{E}.4711.*"}, "1", State.ON),
        ({"oid": f"{E}.4711.*"}, "2", State.OFF),
        ({"oid": f"{E}.4711.*"}, "3", State.UNKNOWN),
        ({"oid": f"{RPDU2_CONTROL}.*"}, "2", State.ON),
        ({"oid": f"{RPDU2_CONTROL}.*"}, "1", State.OFF),
        ({"oid": f"{RPDU2_CONTROL}.*", "onsetting": 2, "offsetting": 1}, "2", State.OFF),  # wired the other way round
        ({"oid": f".{RPDU2_CONTROL}.*", "onsetting": 2, "offsetting": 1}, "2", State.OFF),
        ({"oid": f"{CTL}.*", "onsetting": 2, "offsetting": 1}, "2", State.ON),
        ({"oid": f"{E}.4711.*", "status_on": 7, "status_off": "8"}, "7", State.ON),
        ({"oid": f"{E}.4711.*", "status_on": 7, "status_off": "8"}, "8", State.OFF),
        ({"oid": f"{E}.4711.*", "status_on": 7, "status_off": "8"}, "1", State.UNKNOWN),
        ({"oid": f"{E}.4711.*", "status_oid": f"{E}.4712.*", "status_off": 0}, "0", State.OFF),
        ({"oid": f"{E}.4711.*", "status_on": "closed"}, "closed", State.ON),
        ({"mib": "Sentry3-MIB", "controlpoint": "outletControlAction"}, "2", None),  # about to go off
        ({"oid": f".{E}.1718.3.2.3.1.11.1.1.*"}, "2", None),
    ],
)
def test_what_a_value_means(settings: dict[str, Any], value: str, state: State | None) -> None:
    assert SNMP("pdu", {"driver": "snmpv2c", **V2, **settings}).row_of("1").meant(value) is state


def test_a_column_that_tells_no_state() -> None:
    whole = {"driver": "snmpv1", **V2, "mib": "PowerNet-MIB", "controlpoint": "sPDUMasterControlSwitch"}
    assert SNMP.faults(whole) == {}
    assert not SNMP.reads_state(whole)
    with pytest.raises(PermanentError, match="cannot be read"):
        SNMP("pdu", whole).port_status(0)


@pytest.mark.parametrize(
    ("name", "settings", "key", "words"),
    [
        ("snmpv1", {"onsetting": 1, "offsetting": 2, "oid": f"{CTL}.*"}, "community", "is missing"),
        ("snmpv3", {**V2, "oid": f"{CTL}.*"}, "username", "is missing"),
        ("snmpv3", {**V2, "oid": f"{CTL}.*", "username": "me", "privpassphrase": PRIV}, "privpassphrase", "signed"),
        ("snmpv3", {**V2, "oid": f"{CTL}.*", "username": "me", "authpassphrase": "geheim!"}, "authpassphrase", "short"),
        (
            "snmpv3",
            {**V2, "oid": f"{CTL}.*", "username": "me", "authpassphrase": AUTH, "privpassphrase": "geheim!"},
            "privpassphrase",
            "is too short: SNMPv3 has no passphrase of fewer than 8 characters",
        ),
        ("snmpv3", {**V2, "oid": f"{CTL}.*", "username": "x" * 33}, "username", "is too long"),
        ("snmpv2c", V2, "oid", "is missing"),
        ("snmpv2c", {**V2, "oid": f"{CTL}.*", "mib": "PowerNet-MIB"}, "mib", "beside oid"),
        ("snmpv2c", {**V2, "oid": "PowerNet-MIB::sPDUOutletCtl.*"}, "oid", "is not a numeric OID"),
        ("snmpv2c", {**V2, "oid": f"{CTL}.*", "status_oid": "1.*.x"}, "status_oid", "is not a numeric OID"),
        ("snmpv2c", {**V2, "oid": f"{CTL}.3", "status_oid": f"{E}.4711.*"}, "status_oid", "it is one object"),
        (
            "snmpv2c",
            {**V2, "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtrl"},
            "controlpoint",
            "PowerNet-MIB sPDUOutletCtrl is not known here; did you mean 'PowerNet-MIB sPDUOutletCtl'?",
        ),
        (
            "snmpv2c",
            {**V2, "mib": "EATON-EPDU-MIB", "controlpoint": "outletControlOnCmd"},
            "controlpoint",
            "given as oid",
        ),
    ],
)
def test_faults_of_the_settings(name: str, settings: dict[str, Any], key: str, words: str) -> None:
    found = SNMP.faults({"driver": name, **settings})
    assert [*found] == [key]
    assert words in found[key]
    assert "geheim" not in found[key]


def test_the_longest_user_and_the_shortest_passphrase() -> None:
    login = {"username": "x" * 32, "authpassphrase": "x" * 8, "privpassphrase": "€€€"}  # of 9 bytes
    assert SNMP.faults({"driver": "snmpv3", **V2, "oid": f"{CTL}.*", **login}) == {}


@pytest.mark.parametrize(
    ("settings", "good", "bad"),
    [
        (
            {"oid": f"{CTL}.*"},
            {"03": "3", "0": "0", "01.2": "1.2"},
            ["x", "", "-1", "1.", ".1", "1..2", "1 2", "4294967296"],
        ),
        ({"oid": f"{CTL}.3"}, {"03": "1", "7": "1", "board": "1"}, ["-1", "a b"]),
        ({"oid": None, "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, {"03": "3", "1.2": "1.2"}, ["abc"]),
        ({"oid": "", "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, {"03": "3"}, ["abc"]),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet2Status", "inside_number": True, "static_ending": 0},
            {"03": "1", "board": "1"},
            ["-1"],
        ),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet*Status", "inside_number": True, "static_ending": 0},
            {"03": "3", "24": "24"},
            ["0", "25", "1.1", "x"],
        ),
    ],
)
def test_ports(settings: dict[str, Any], good: dict[str, str], bad: list[str]) -> None:
    whole = {"driver": "snmpv1", **V2, **settings}
    assert {port: SNMP.canonical_port(port, whole) for port in good} == good
    for port in bad:
        with pytest.raises(ValueError, match=re.escape(repr(port))):
            SNMP.canonical_port(port, whole)


def test_one_object_has_one_port(daemon: Callable[..., Daemon]) -> None:
    with fake.Agent() as agent:
        settings = {"driver": "snmpv1", "community": fake.COMMUNITY, "snmpport": agent.port}
        settings |= {"oid": f".{CTL}.3", "onsetting": 1, "offsetting": 2}
        started = daemon({"127.0.0.1": settings, "127.0.0.2": {**settings, "locked": [7]}})
        assert started.power("on", "127.0.0.1", "board").status == 200
        assert agent.outlets["3"] == "on"
        assert started.power("status", "127.0.0.1", 8).text == "on\n"
        assert started.power("off", "127.0.0.2", 8).status == 403
        assert agent.outlets["3"] == "on"


def test_the_symbols_are_whole_oids() -> None:
    for column in SYMBOLS.values():
        assert OID.fullmatch(column.oid), column
        assert not column.status or OID.fullmatch(column.status), column


def test_an_ipv6_address_in_brackets() -> None:
    try:
        agent = fake.Agent(host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with agent:
        row = {"oid": f"{CTL}.*", "onsetting": 1, "offsetting": 2}
        in_brackets = driver("snmpv2c", "[::1]", community=fake.COMMUNITY, snmpport=agent.port, **row)
        in_brackets.handle("on", 2)
        assert agent.outlets["2"] == "on"
        with pytest.raises(PermanentError, match=re.escape(f"[::1]:{agent.port} refused")) as told:
            in_brackets.handle("on", 99)
        assert "[[" not in str(told.value)


def test_the_daemon(net_snmp: Snmpd, daemon: Callable[..., Daemon]) -> None:
    user = {"username": "sha_aes", "authpassphrase": AUTH, "auth_protocol": "USM_AUTH_HMAC96_SHA"}
    user |= {"privpassphrase": PRIV, "priv_protocol": "USM_PRIV_CFB128_AES"}
    settings = {
        "driver": "snmpv3",
        "snmpport": net_snmp.port,
        "oid": f".{RPDU2_CONTROL}.*",
        "onsetting": 1,
        "offsetting": 2,
    }
    started = daemon({"127.0.0.1": {**settings, **user, "verify": True}})
    assert started.power("on", "127.0.0.1", 2).status == 200
    assert net_snmp.outlets["2"] == "on"
    net_snmp.flip("2", "off")
    assert started.power("status", "127.0.0.1", 2).text == "off\n"
    assert started.power("on", "127.0.0.1", "x").status == 503
    bad = started.power("on", "127.0.0.1", 99)
    assert (bad.status, bad.text.count("notWritable")) == (502, 1), bad
    run = started.run("--drive", "--hostname=127.0.0.1", "--port=2", "--request=on")
    assert run.returncode == 0, run
    assert "Traceback" not in run.stderr
    eventually(lambda: net_snmp.outlets["2"] == "on")
    assert started.stop() == 0
    assert AUTH not in started.log_text()
    assert PRIV not in started.log_text()


def test_all_outlets_of_a_column() -> None:
    """Where the port is one number at one place, the whole column is read; else the settings do not say which there are."""
    with fake.Agent() as agent:
        agent.outlets["3"] = "on"
        settings = {"driver": "snmpv2c", **V2, "community": fake.COMMUNITY, "snmpport": agent.port}
        for where in ({"oid": f"{CTL}.*"}, {"mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}):
            assert SNMP.reads_outlets({**settings, **where})
            told = begun(SNMP("127.0.0.1", {**settings, **where})).read_outlets()
            assert {each.port: each.state for each in told} == agent.outlets
        inside = {"mib": "Pulizzi", "controlpoint": "outlet*Command", "inside_number": 1, "static_ending": 0}
        for where in ({"oid": f"{CTL}.1"}, {"oid": f"{E}.4711.*.2.*.0"}, inside):
            assert not SNMP.reads_outlets({**settings, **where})
            with pytest.raises(PermanentError, match="do not say which outlets"):
                begun(SNMP("127.0.0.1", {**settings, **where})).read_outlets()
