# SPDX-License-Identifier: MIT
"""``pdudaemon --probe``: which driver fits, as configuration that is one; nothing is switched and no login is tried."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon import probing
from pdudaemon.cli import main
from pdudaemon.config import reader
from pdudaemon.drivers import hooks, kasa, strategies
from pdudaemon.drivers.anel import told_by_udp
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.dummy import Dummy
from pdudaemon.drivers.recognition import CHANGE_ME
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import OutletRow
from pdudaemon.errors import ConfigError
from pdudaemon.power import State
from pdudaemon.probing import MOST, ask, expand
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from tests.devices import (
    anel,
    devantechds,
    devantecheth,
    dlihttp,
    dlirest,
    esphome,
    geistapi,
    gudejson,
    gudepages,
    homeassistant,
    ibootrest,
    intellinet,
    ip9850,
    ipmi,
    kmtroniclan,
    lindy,
    lxaiobus,
    mikrotik,
    msnswitch,
    netgearplus,
    netio4,
    netiojson,
    nut,
    owserver,
    powerman,
    redfish,
    redfishpdu,
    scpi,
    shelly,
    shellygen1,
    snmprows,
    synaccess,
    tasmota,
    tinycontrol,
    tplink,
    ubus,
    unifi,
    xerus,
)
from tests.devices.base.device import Mood
from tests.devices.base.families import FAMILIES
from tests.devices.base.snmp import COMMUNITY, Agent
from tests.devices.base.web import Answer as Page
from tests.devices.base.web import WebDevice
from tests.peers.owserver import owserver as real_owserver
from tests.support.action import begun
from tests.support.certificate import self_signed
from tests.support.patience import with_patience
from tests.support.ports import free_ports
from tests.support.process import Daemon
from tests.support.sampling import some
from tests.support.snmpmessage import SET
from tests.support.tokens import SECRET


@pytest.fixture
def probed(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Return what runs the program; that returns its exit code, its configuration, and what it says to people."""

    def run(*words: str) -> tuple[int, dict[str, Any], str]:
        code = main(["--probe", *words])
        written = capsys.readouterr()
        return code, json.loads(written.out), written.err

    return run


def checked(pdus: dict[str, Any], folder: Path) -> None:
    """Hold a configuration against ``--check``."""
    path = folder / "pdudaemon.conf"
    path.write_text(json.dumps({"daemon": {}, "pdus": pdus}))
    conf = reader.load(str(path), checking=True)
    assert (conf.faults, conf.warnings) == ((), ())
    assert conf.pdus.keys() == pdus.keys()


def logins(device: WebDevice) -> list[str]:
    """Return what of the requests that a device was sent is, or has, a login."""
    found = [request.headers["authorization"] for request in device.requests if "authorization" in request.headers]
    words = ("pass=", "password=", "user=", "Sw_", "turn_", "newSession", '"login"')
    return found + [
        word for request in device.requests for word in words if word in request.target or word.encode() in request.body
    ]


SUPPLIES = {
    "scpi-keysight": "Keysight Technologies,E36312A",
    "scpi-rigol": "RIGOL TECHNOLOGIES,DP832",
    "scpi-rohde-nge": "Rohde&Schwarz,NGE103B",
    "scpi-rohde-hmp": "HAMEG,HMP4040",
    "scpi-siglent": "Siglent Technologies,SPD3303X",
}

KNOWN = [name for name in snmprows.NAMES if snmprows.facts(name).object_id or name == "dli_snmp"]
FEW = sorted({*some(KNOWN, 3), *(name for name in KNOWN if name in snmprows.AGENTS), "dli_snmp"})


@pytest.mark.parametrize("name", FEW)
def test_a_device_of_a_row(name: str, tmp_path: Path) -> None:
    table = snmprows.facts(name)
    if name == "dli_snmp":
        table = replace(table, object_id="")
    with snmprows.AGENTS.get(name, Agent)(table=table) as agent:
        before, port = dict(agent.outlets), agent.port
        answer = ask(f"127.0.0.1:{port}", [COMMUNITY])
        assert agent.outlets == before and SET not in {pdu.tag for pdu in agent.pdus}
    (found,) = answer.found
    assert found.settings["driver"] == name
    assert (found.settings["community"], found.settings["snmpport"]) == (COMMUNITY, port)
    checked({"127.0.0.1": dict(found.settings)}, tmp_path)
    assert {each.port: each.state for each in found.outlets} == dict.fromkeys(before, State.OFF)
    if table.name:
        assert found.outlets[0].name == f"Outlet {found.outlets[0].port.rpartition('.')[2]}"


def test_an_agent_that_has_v1_alone(tmp_path: Path) -> None:
    class Old(Agent):
        def _answer(self, data: bytes) -> bytes | None:
            answer = super()._answer(data)
            return answer if self.versions[-1] == 0 else None

    with Old(table=snmprows.facts("apc_rpdu2")) as agent:
        (found,) = ask(f"127.0.0.1:{agent.port}", ["wrong", COMMUNITY]).found
    assert found.settings["driver"] == "apc_rpdu2" and found.settings["version"] == "1"
    checked({"127.0.0.1": dict(found.settings)}, tmp_path)


def test_an_agent_of_another_kind() -> None:
    with Agent() as agent:  # has outlets, and does not say what it is
        answer = ask(f"127.0.0.1:{agent.port}", [COMMUNITY])
    assert not answer.found and "no driver is known for its outlets (sysObjectID empty" in answer.strangers[0]


def without_frontend() -> homeassistant.HomeAssistant:
    server = homeassistant.HomeAssistant()
    server.frontend = False
    return server


def without_login(device: Any) -> Any:
    device.login = ""
    return device


def login_for(device: Any, page: str) -> Any:
    """Return a device that wants its login for one page alone."""
    device.login = ""
    device.answer = lambda request: (
        Page(401, headers=('WWW-Authenticate: Basic realm="PDU"',)) if request.target == page else Page(404)
    )
    return device


def named(device: Any, name: str) -> Any:
    device.name = f"{name},SN1,1.0"
    return device


def private(device: Any) -> Any:
    device.private = True
    return device


WEB: dict[str, tuple[Callable[[], AbstractContextManager[Any]], dict[str, Any], int]] = {
    "shelly": (shelly.Shelly, {"driver": "shelly_gen2"}, 4),
    "tasmota": (lambda: tasmota.Tasmota(4), {"driver": "tasmota", "port_count": 4}, 4),
    "tasmota of one relay": (lambda: tasmota.Tasmota(1), {"driver": "tasmota"}, 1),
    "netio": (lambda: without_login(netiojson.Netio()), {"driver": "netiojson"}, 4),
    "netio of eight": (
        lambda: without_login(netiojson.Netio(outputs=8)),
        {"driver": "netiojson", "number_of_outputs": 8},
        8,
    ),
    "shelly of old": (shellygen1.Shelly, {"driver": "shelly_gen1"}, 4),
    "gude": (gudejson.ExpertPowerControl, {"driver": "gude_json"}, 8),
    "newer gude": (lambda: gudejson.ExpertPowerControl(page="/status.json"), {"driver": "gude_json"}, 8),
    "older gude": (lambda: gudepages.Pages("gude_ov"), {"driver": "gude_ov"}, 8),
    "gude before that": (lambda: gudepages.Pages("gude_http"), {"driver": "gude_http"}, 8),
    "esphome": (esphome.ESPHome, {"driver": "esphome-http"}, 3),
    "lindy": (lindy.IPower, {"driver": "LindyIPowerClassic8"}, 8),
    "intellinet": (intellinet.Intellinet, {"driver": "intellinet"}, 8),
    "ip9850": (lambda: ip9850.IPPower(password=""), {"driver": "ip9850"}, 4),
    "tcpdu": (lambda: without_login(tinycontrol.Socket("tinycontrol")), {"driver": "tinycontrol"}, 6),
    "power socket": (
        lambda: without_login(tinycontrol.Socket("tinycontrol_socket")),
        {"driver": "tinycontrol_socket"},
        6,
    ),
    "kmtronic": (lambda: without_login(kmtroniclan.Board()), {"driver": "kmtronic_lan"}, 8),
    "ubus": (ubus.Switch, {"driver": "ubus"}, 8),
}
LOCKED: dict[str, tuple[Callable[[], AbstractContextManager[Any]], dict[str, Any], str]] = {
    "shelly": (lambda: shelly.Shelly(password="x"), {"driver": "shelly_gen2"}, "password"),
    "shelly of old": (lambda: shellygen1.Shelly(login="admin:x"), {"driver": "shelly_gen1"}, "password"),
    "digital loggers": (dlirest.ProSwitch, {"driver": "dli_rest"}, "user name and password"),
    "xerus": (lambda: without_login(xerus.PX3()), {"driver": "xerus", "protocol": "http"}, "user name and password"),
    "form of digital loggers": (dlihttp.PowerSwitch, {"driver": "dli_http"}, "user name and password"),
    "redfish": (redfish.BMC, {"driver": "redfish", "protocol": "http"}, "user name and password"),
    "redfish of a pdu": (redfishpdu.RackPDU, {"driver": "redfish_pdu", "protocol": "http"}, "user name and password"),
    "tasmota": (lambda: tasmota.Tasmota(1, password="x"), {"driver": "tasmota"}, "user name and password"),
    "mikrotik": (mikrotik.Switch, {"driver": "mikrotik_poe", "protocol": "http"}, "user name and password"),
    "netgear": (netgearplus.Switch, {"driver": "netgear_plus", "password": "CHANGE-ME"}, "password"),
    "unifi": (lambda: unifi.Console(old=True), {"driver": "unifi_poe", "device": "CHANGE-ME"}, "MAC address"),
    "msnswitch": (
        lambda: login_for(msnswitch.Switch("msnswitch"), "/xml/outlet_status.xml"),
        {"driver": "msnswitch"},
        "password",
    ),
    "open msnswitch": (lambda: without_login(msnswitch.Switch("msnswitch")), {"driver": "msnswitch"}, "password"),
    "iboot": (ibootrest.IBoot, {"driver": "iboot_rest"}, "user name and password"),
    "geist": (geistapi.PDU, {"driver": "geist_api"}, "user name and password"),
    "private geist": (lambda: private(geistapi.PDU()), {"driver": "geist_api"}, "user name and password"),
    "old tasmota": (lambda: tasmota.Tasmota(1, password="x", old=True), {"driver": "tasmota"}, "port_count"),
    "anel": (lambda: anel.Anel("P"), {"driver": "anel_netpwrctrlpro"}, "user name and password"),
    "home assistant without pages": (
        without_frontend,
        {"driver": "home-assistant-http", "api_key": "CHANGE-ME"},
        "token",
    ),
    "home assistant": (homeassistant.HomeAssistant, {"driver": "home-assistant-http", "api_key": "CHANGE-ME"}, "token"),
}


@pytest.mark.parametrize("kind", WEB)
def test_a_web_device_without_a_login(
    kind: str, tmp_path: Path, probed: Callable[..., tuple[int, dict[str, Any], str]]
) -> None:
    make, settings, count = WEB[kind]
    with make() as device:
        before = dict(device.outlets)
        code, pdus, said = probed(f"127.0.0.1:{device.port}", "--community", "")
        assert code == 0 and device.outlets == before and logins(device) == []
    assert settings.items() <= pdus["127.0.0.1"].items() and str(device.port) in str(pdus)
    assert f"127.0.0.1:{device.port}: {settings['driver']}" in said and f", {count} outlets" in said
    assert said.count("\n  ") == count and "to be added" not in said
    checked(pdus, tmp_path)
    made = strategies.find(settings["driver"]).configured(pdus["127.0.0.1"])
    assert all(made.canonical_port(port) for port in before)


@pytest.mark.parametrize("kind", LOCKED)
def test_a_web_device_with_a_login(
    kind: str, tmp_path: Path, probed: Callable[..., tuple[int, dict[str, Any], str]]
) -> None:
    make, settings, wants = LOCKED[kind]
    with make() as device:
        before = dict(device.outlets)
        code, pdus, said = probed(f"127.0.0.1:{device.port}", "--community", "")
        assert code == 0 and device.outlets == before and logins(device) == []
    assert settings.items() <= pdus["127.0.0.1"].items()
    assert "to be added: " in said and wants in said.rpartition("to be added: ")[2]
    checked(pdus, tmp_path)


def test_one_page_behind_a_login_is_recognised_and_a_server_that_is_all_behind_one_is_not() -> None:
    class Locked(WebDevice):
        page = "/netio.json"

        def answer(self, request: Any) -> Page:
            return (
                Page(401, headers=('WWW-Authenticate: Basic realm="x"',)) if request.target == self.page else Page(404)
            )

    class JAWS(Locked):
        page = "/jaws/monitor/outlets"

    class PDU(Locked):
        page = "/model/pdu/0"

    for make, driver in ((Locked, "netiojson"), (JAWS, "servertechpro2"), (PDU, "xerus")):
        with make() as device:
            (found,) = ask(f"127.0.0.1:{device.port}", []).found
            assert found.settings["driver"] == driver and found.wants == "user name and password"
            assert logins(device) == []
    with netiojson.Netio() as device:
        answer = ask(f"127.0.0.1:{device.port}", [])
        assert not answer.found and "no driver recognises its web server" in answer.strangers[0]
        assert logins(device) == []


@pytest.mark.parametrize(
    ("make", "driver", "count"),
    [
        (lambda: tplink.Plug("lamp", "board"), "tplink", 2),
        (tplink.Plug, "tplink", 1),
        *((lambda name=name: devantecheth.Board(name), name, None) for name in devantecheth.NAMES),
        (netio4.KShell, "netio4", 0),
        (powerman.Powermand, "powerman", None),
        (nut.Upsd, "nut", None),
        (ipmi.LanBMC, "ipmi", 0),
        *((lambda name=name: named(scpi.Supply(name), SUPPLIES[name]), name, 0) for name in SUPPLIES),
        (owserver.Server, "owserver", 0),
        (lambda: devantechds.Board("devantech_ds378"), "devantech_ds378", 0),
        (synaccess.NetBooter, "synnetbooter", 0),
    ],
)
def test_a_device_with_a_protocol_of_its_own(make: Any, driver: str, count: int | None, tmp_path: Path) -> None:
    with make() as device:
        before = dict(device.outlets)
        address = f"127.0.0.1:{device.port}"
        found = hooks.recognised(strategies.find(driver), address, Deadline(30), Pages(address, Deadline(30)))
        assert found is not None and device.outlets == before
        for login in (b"login", devantecheth.PASSWORD.encode(), netio4.PASSWORD.encode(), b"admin"):
            assert login not in device.received
    assert found.settings["driver"] == driver
    assert len(found.outlets) == (len(before) if count is None else count)
    checked({"127.0.0.1": dict(found.settings)}, tmp_path)


@pytest.mark.long
def test_instruments_that_are_no_supplies_are_not_taken_for_one() -> None:
    with scpi.Supply("scpi-rigol") as device:
        for name in ("RIGOL TECHNOLOGIES,DS1054Z", "KEYSIGHT TECHNOLOGIES,34465A", "Maker,DP832"):
            device.name = f"{name},SN1,1.0"
            assert not ask(f"127.0.0.1:{device.port}", []).found


@pytest.mark.long
def test_a_real_owserver_is_recognised(tmp_path: Path) -> None:
    with real_owserver("29.AABBCCDDEEFF", "10.112233445566") as port:
        (found,) = ask(f"127.0.0.1:{port}", []).found
    assert found.settings == {"driver": "owserver", "port": port} and "29.AABBCCDDEEFF" in found.identity.model
    with real_owserver("10.112233445566") as port:  # which measures a temperature
        assert not ask(f"127.0.0.1:{port}", []).found


def test_another_daemon_is_recognised(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    other = daemon({"rack7": {"driver": "dummy", "outlets": 4}, "rack8": {"driver": "dummy"}})
    (found,) = ask(f"127.0.0.1:{other.port}", []).found
    url = f"http://127.0.0.1:{other.port}"
    assert found.settings == {"driver": "pdudaemon", "url": url, "pdu": "rack7"}
    assert found.wants == "the same for its other PDUs rack8"
    assert [each.port for each in begun(strategies.find("pdudaemon")("any", found.settings)).read_outlets()] == [
        *"1234"
    ]
    checked({"127.0.0.1": dict(found.settings)}, tmp_path)
    closed = daemon({"rack7": {"driver": "dummy"}}, secret=SECRET)
    (found,) = ask(f"127.0.0.1:{closed.port}", []).found
    assert found.settings["token"] == CHANGE_ME and "rack" not in str(found)


def test_the_nodes_of_a_bus_are_each_a_pdu(tmp_path: Path) -> None:
    with lxaiobus.Server() as device:
        address = f"127.0.0.1:{device.port}"
        (found,) = ask(address, []).found
    assert found.settings == {"driver": "lxa_iobus", "node": lxaiobus.NODE, "port": device.port} and not found.wants
    checked({"127.0.0.1": dict(found.settings)}, tmp_path)


@pytest.mark.parametrize(
    ("kind", "fits"), [("SMART.TAPOPLUG", True), ("IOT.SMARTPLUGSWITCH", True), ("SMART.TAPOBULB", False)]
)
def test_plugs_of_today_tell_of_themselves_by_udp(kind: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kasa, "_UDP_SECONDS", 60.0)
    told = {
        "device_type": kind,
        "device_model": "P110(EU)",
        "mgt_encrypt_schm": {"encrypt_type": "KLAP", "http_port": 80},
    }
    heard: list[bytes] = []
    with socket.socket(type=socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))

        def answer() -> None:
            asked, sender = device.recvfrom(4096)
            heard.append(asked)
            device.sendto(asked[:16] + json.dumps({"error_code": 0, "result": told}).encode(), sender)

        answering = threading.Thread(target=answer)
        answering.start()
        said = kasa.told_by_udp("127.0.0.1", Deadline(60), device.getsockname()[1])
        answering.join()
    assert (said == told) is fits
    head = heard[0]
    assert len(head) == 16 and head[:4] == bytes([2, 0, 0, 1])
    assert zlib.crc32(head[:12] + bytes.fromhex("5a6b7c8d")) == int.from_bytes(head[12:], "big")


# Drivers of devices with an address that are not recognised, and why.
NOT_RECOGNISED = {
    "acme": "a login by ssh comes first",
    "ap9218 ap9606 apc7900 apc7920 apc8959 apc_cli": "greet alike with three command sets; SNMP tells them apart",
    "aten_rest": "tells nothing without a login, not even that it wants one",
    "cisco_poe edgeswitch_poe": "greet as all of the maker's do, with PoE or without",
    "egpms": "to ask it anything is to take its only session",
    "bcu uhubctl": "is a program of this machine, which lists what it finds",
    "fence": "is a program of this machine",
    "gude1202": "is recognised by its web server, as gude_json",
    "localcmdline": "is a program of this machine",
    "modbusrtu waveshare-1": "is behind any adapter for RS-485",
    "reset_cable": "is behind any serial port",
    "sainsmart": "tells its states on a page between those that are orders",
    "modbustcp waveshare_lan-8": "answers as anything does that speaks Modbus",
    "numato_eth-8": "greets with nothing but the question for a name",
    "openflight": "tells nothing without a token, not even what it is",
    "platform": "is whatever commands say it is",
    "rest": "is whatever its settings say it is",
    "SERVO": "may be asked only at the port of Kasa plugs, to which a request of HTTP may mean something",
    "synlink_rest wti_rest": "tells nothing without a login; SNMP does",
    "tasmota-mqtt esphome-mqtt zigbee2mqtt": "are behind a broker, and have no address",
    "ubntmfi3port": "greets as any dropbear does",
    "avocent_cli baytech_cli": "asks for a name as any console does; SNMP tells them apart",
}


def test_who_can_be_recognised_is() -> None:
    """By SNMP, by what the network shows, or plugged into this machine; or it is said here why not."""
    named = {strategies.find(word) for words in NOT_RECOGNISED for word in words.split()}
    missing = []
    for driver in {strategies.find(name) for name in strategies.names()}:
        known = issubclass(driver, SNMPDriver) or hooks.recognises(driver) or lists(driver)
        if not (known or driver in named or issubclass(driver, Dummy)):
            missing.append(sorted(driver.models)[0])
        assert not (known and driver in named), f"{driver.__name__} is recognised, and said not to be"
    assert not missing


# Rows that no agent is taken for, and why.
NO_SYSTEM = {
    "apnl racktivity tripplite_old": "how they introduce themselves is not known",
    "cyberpower81001 cyberpower41001 ip9258": "names of the existing daemon, for which others of their makers are found",
    "ifmib poe_snmp": "any switch has these objects, whoever made it",
    "snmp snmpv1 snmpv2c snmpv3": "are whatever their settings say they are",
}


def test_every_row_says_how_its_devices_introduce_themselves() -> None:
    known = {word for words in NO_SYSTEM for word in words.split()}
    without = {
        word
        for driver in {strategies.find(name) for name in strategies.names()}
        if issubclass(driver, SNMPDriver)
        for word, row in driver.models.items()
        if not any(each.systems for each in (row, *getattr(row, "variants", ())) if isinstance(each, OutletRow))
    }
    assert without == known


def lists(driver: type[PDUDriver]) -> bool:
    return driver.attached.__func__ is not PDUDriver.attached.__func__  # type: ignore[attr-defined]


@pytest.mark.long
@pytest.mark.parametrize("make", [lambda: tplink.Plug("lamp", "board"), powerman.Powermand, ipmi.LanBMC])
def test_one_of_them_is_found_among_all(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(probing, "_OF_A_PROTOCOL", seconds)
        with make() as device:
            assert len(ask(f"127.0.0.1:{device.port}", []).found) == 1

    with_patience(attempt, probing._OF_A_PROTOCOL)


LISTENING = {
    name: family for family in FAMILIES for name in family.NAMES if "_snmp" not in name and family is not snmprows
}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.long if each == "sainsmart" else ()) for each in LISTENING]
)
def test_no_device_is_switched_or_taken_for_another(name: str) -> None:
    """Every fake with a web server, as the contract has it, with its login in force, asked by every driver."""
    with LISTENING[name].case(name, Mood.WELL) as case:
        if not isinstance(case.device, WebDevice):
            return
        before = dict(case.device.outlets)
        answer = ask(f"127.0.0.1:{case.device.port}", [])
        assert case.device.outlets == before
        assert not answer.faults
        found = {strategies.find(str(each.settings["driver"])).__module__ for each in answer.found}
        assert found <= {strategies.find(name).__module__}
        assert logins(case.device) == []
        for secret in case.secrets:
            assert secret.encode() not in case.device.received


def test_a_server_with_tls_is_to_be_known_by_its_certificate(tmp_path: Path) -> None:
    """What is printed works, and trusts that one certificate alone."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    self_signed(key, certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    class SecureBMC(redfish.BMC):
        def converse(self, connection: socket.socket) -> None:
            with tls.wrap_socket(connection, server_side=True) as secured:
                super().converse(secured)

    with SecureBMC() as device:
        (found,) = ask(f"127.0.0.1:{device.port}", []).found
        assert found.settings["driver"] == "redfish" and found.settings["protocol"] == "https"
        assert "insecure" not in found.settings
        settings = {**found.settings, "username": redfish.USER, "password": redfish.PASSWORD}
        checked({"127.0.0.1": settings}, tmp_path)
        made = begun(strategies.find("redfish")("127.0.0.1", settings))
        assert [each.state for each in made.read_outlets()] == [State.OFF]


def test_sockets_are_told_by_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdudaemon.drivers.anel._UDP_SECONDS", 60.0)
    said = "NET-PwrCtrl:NET-CONTROL    :192.0.2.5:255.255.255.0:192.0.2.1:0.4.163.10.9.107:Nr. 1,1:board: 7,0:Nr. 3,0"
    with socket.socket(type=socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))

        def answer() -> None:
            asked, sender = device.recvfrom(100)
            device.sendto(said.encode() if asked == b"wer da?\r\n" else b"?", sender)

        answering = threading.Thread(target=answer)
        answering.start()
        told = told_by_udp("127.0.0.1", Deadline(60), (device.getsockname()[1], 0))
        answering.join()
    assert [(each.port, each.name, each.state) for each in told] == [
        ("1", "Nr. 1", State.ON),
        ("2", "7", State.OFF),
        ("3", "Nr. 3", State.OFF),
    ]


def test_what_does_not_answer_is_told_in_one_line(probed: Callable[..., tuple[int, dict[str, Any], str]]) -> None:
    one, other = free_ports(2)
    code, pdus, said = probed(f"127.0.0.1:{one}", f"127.0.0.1:{other}", "--community", "")
    assert (code, pdus) == (1, {})
    assert said == f"pdudaemon: no answer from 127.0.0.1:{one}, 127.0.0.1:{other}\n"


def test_several_at_a_time_of_which_each_has_its_own_line(
    tmp_path: Path, probed: Callable[..., tuple[int, dict[str, Any], str]]
) -> None:
    with ExitStack() as stack:
        plug = stack.enter_context(shelly.Shelly())
        agent = stack.enter_context(Agent(table=snmprows.facts("raritan_px2")))
        secret = tmp_path / "community"
        secret.write_text(f"{COMMUNITY}\n")
        words = (f"127.0.0.1:{plug.port}", f"localhost:{agent.port}")
        code, pdus, said = probed(*words, "--community", f"@{secret}")
    assert code == 0 and {name: each["driver"] for name, each in pdus.items()} == {
        "127.0.0.1": "shelly_gen2",
        "localhost": "raritan_px2",
    }
    assert pdus["localhost"]["community"] == {"file": str(secret)} and COMMUNITY not in said
    checked(pdus, tmp_path)
    assert f"{words[1]}: raritan_px2, Raritan, 4 outlets\n  1  Outlet 1  off  1201 W\n" in said


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--probe", "192.0.2.1", "--community", f"@{tmp_path}/none"]) == 2
    assert f"--community: the file '{tmp_path}/none' cannot be read: No such file" in capsys.readouterr().err


def test_addresses() -> None:
    assert expand(["192.0.2.[1-3]", "pdu[08-10].lab", "192.0.2.2"]) == [
        *("192.0.2.1", "192.0.2.2", "192.0.2.3", "pdu08.lab", "pdu09.lab", "pdu10.lab"),
    ]
    assert expand(["192.0.2.0/30", "2001:db8::/126"])[:2] == ["192.0.2.1", "192.0.2.2"]
    assert expand(["2001:db8::5", "[2001:db8::6]", "[2001:db8::7]:8080", "pdu[1-2]:81"]) == [
        *("2001:db8::5", "2001:db8::6", "[2001:db8::7]:8080", "pdu1:81", "pdu2:81"),
    ]
    for word, fault in {
        "10.0.0.0/8": f"'10.0.0.0/8' has more than {MOST} addresses",
        "pdu[1-2000]": f"more than {MOST} addresses at a time",
        "192.0.2.0/33": "192.0.2.0/33",
        "pdu[1-": "bracket",
        "pdu:99999": "99999 is not a port",
        "http://pdu/": "http://pdu/",
        "": "'' names no address",
    }.items():
        with pytest.raises(ConfigError) as error:
            expand([word])
        assert fault in str(error.value) and str(error.value).startswith("--probe: ")
