# SPDX-License-Identifier: MIT
"""PDUs that are web pages: IP Power 9850, Lindy IPower, SainSmart, Server Technology PRO2, ubus of OpenWrt.

Their conversations against drivers and fakes first, then what only each of them has.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from tests.devices import ip9850, lindy, servertech, ubus
from tests.devices.base.scripted import conversation
from tests.devices.base.web import Answer, Request, ScriptedWeb, WebDevice
from tests.devices.ip9850 import IPPower
from tests.devices.lindy import IPower
from tests.devices.sainsmart import RelayBoard
from tests.devices.servertech import Switched
from tests.devices.ubus import Switch
from tests.support.action import begun, hurried
from tests.support.certificate import self_signed


def driver(device: Any, name: str, seconds: float = 120, **settings: Any) -> PDUDriver:
    return begun(strategies.find(name)(f"127.0.0.1:{device.port}", {"driver": name, **settings}), seconds)


class Family(NamedTuple):
    """A sample conversation, what our side says in it, and the other side."""

    sample: str
    name: str
    settings: dict[str, str]
    speak: Callable[[PDUDriver], list[State | None]]
    fake: Callable[[], WebDevice]
    port: str


class Page(WebDevice):
    """Answers whatever it is asked with one page."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.body = body

    def answer(self, request: Request) -> Answer:
        return Answer(200, self.body)


def one_switch() -> Switch:
    device = Switch()
    device.outlets, device.about = {"3": "on"}, {}
    return device


HEADERS = {
    "Content-Type": "application/json",
    "X-CSRF": "x",
    "Authorization": "Basic " + base64.b64encode(f"admn:{servertech.PASSWORD}".encode()).decode(),
}
FAMILIES = [
    Family(
        "ip9850",
        "ip9850",
        {"username": "admin", "password": "x"},
        lambda made: [made.handle("on", 2), made.handle("status", 2)],
        lambda: IPPower(password="x"),
        "2",
    ),
    Family("lindy", "LindyIPowerClassic8", {}, lambda made: [made.handle("on", 2)], IPower, "2"),
    Family("sainsmart", "sainsmart", {}, lambda made: [made.handle("on", 3)], lambda: RelayBoard(bare=False), "3"),
    Family("servertechpro2", "servertechpro2", {}, lambda made: [made.handle("on", "AA1")], Switched, "AA1"),
    Family("ubus", "ubus", {}, lambda made: [made.handle("off", 3), made.handle("status", 3)], one_switch, "3"),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.sample)
def test_the_conversation_against_the_driver(family: Family) -> None:
    with ScriptedWeb(conversation(family.sample)) as device:
        ip = {} if family.sample == "lindy" else {"ip": f"127.0.0.1:{device.port}"}
        said = family.speak(driver(device, family.name, **ip, **family.settings))
    assert said in ([None], [None, State.ON], [None, State.OFF])
    assert not device.exchanges


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.sample)
def test_the_conversation_against_the_fake(family: Family) -> None:
    with family.fake() as device:
        for asked, said in conversation(family.sample):
            method, target, *body = asked.split(" ", 2)
            client = http.client.HTTPConnection("127.0.0.1", device.port, timeout=60)
            client.request(method, target, "".join(body), HEADERS)
            response = client.getresponse()
            assert f"{response.status} {response.read().decode()}" == said
            client.close()
        assert device.outlets[family.port] == ("off" if family.sample == "ubus" else "on")


@pytest.mark.parametrize(
    ("name", "fake", "port"),
    [
        ("ip9850", lambda: IPPower(password=""), 1),
        ("LindyIPowerClassic8", IPower, 1),
        ("sainsmart", RelayBoard, 1),
        ("sainsmart", lambda: RelayBoard(pages=4), 1),
        ("servertechpro2", Switched, "AA1"),
    ],
)
def test_an_outlet_that_does_not_follow(name: str, fake: Callable[[], Any], port: int | str) -> None:
    login = {"username": "admn", "password": servertech.PASSWORD} if name == "servertechpro2" else {}
    with fake() as device:
        device.stuck = True
        with pytest.raises(TransientError, match=f"^port {port} is still off after on$"):
            hurried(driver(device, name, **login), 0.4).port_on(port)


@pytest.mark.parametrize(
    ("name", "port", "bodies", "words"),
    [
        ("ip9850", 2, ["", "p61=1", "p62=", "p62=2", "p62=10", "ap62=1"], "does not tell the state of outlet 2"),
        ("LindyIPowerClassic8", 8, ["", "0," * 17, "0," * 17 + "2", "0," * 17 + "10"], "the state of outlet 8"),
        ("sainsmart", 1, ["", "1" * 17, "Relay-01: ON"[:9], "\x05\0"], "the board shows no page"),
        ("servertechpro2", "AA1", ["[]", "{}", '{"state":1}', '"On"'], "the state of outlet AA1"),
        ("servertechpro2", "AA1", ["", "On"], "the answer is not JSON"),
        ("ubus", 1, ["", "on"], "the answer is not JSON"),
        ("ubus", 1, ["[]", "0", "{}", '{"result":[]}', '{"result":0}', '{"result":["0"]}'], "not one of ubus"),
        ("ubus", 1, ['{"error":"no"}', '{"error":{"code":"x","message":""}}', '{"result":[0,7]}'], "not one of ubus"),
        ("ubus", 1, ['{"result":[0]}', '{"result":[0,{"ports":[]}]}'], "does not tell of any port"),
        ("ubus", 1, ['{"result":[0,{"ports":{"lan1":{}}}]}', '{"result":[0,{"ports":{"lan1":0}}]}'], "state of lan1"),
    ],
)
def test_answers_that_tell_nothing(name: str, port: int | str, bodies: list[str], words: str) -> None:
    for body in bodies:
        with Page(body) as device, pytest.raises(TransientError, match=f"^127.0.0.1:{device.port} at .*{words}$"):
            driver(device, name).port_status(port)


# -- IP Power 9850


@pytest.mark.parametrize("page", ["{}", "<html> {} </html>", "<html>401<br>{}</html>", "<b>P6x=y</b>{}"])
@pytest.mark.parametrize("separator", [",", " ", "</p>\r\n<p>", ", "])
def test_ip9850_tells_outlets_in_many_ways(page: str, separator: str) -> None:
    with IPPower(page=page) as device:
        device.separator = separator
        desk = driver(device, "ip9850", username="admin", password=ip9850.PASSWORD)
        desk.port_on(4)
        assert device.outlets == {"1": "off", "2": "off", "3": "off", "4": "on"}
        assert [desk.port_status(port) for port in (3, 4)] == [State.OFF, State.ON]
        assert device.requests[0].target.startswith("/set.cmd?user=admin&pass=s3cr%26t%3D401&cmd=setpower&p64=1")


@pytest.mark.parametrize("said", ["P62=1", "p62 = 1", "p62=0"])
def test_ip9850_is_asked_again_only_when_a_command_is_not_confirmed(said: str) -> None:
    states = ("GET /set.cmd?cmd=getpower", "200 P61=0 P62=1 P63=0 P64=0")
    with ScriptedWeb([("GET /set.cmd?cmd=setpower&p62=1", f"200 {said}"), states]) as device:
        driver(device, "ip9850").port_on(2)
        assert len(device.exchanges) == (0 if said == "p62=0" else 1)


def test_ip9850_without_an_echo_is_read_back() -> None:
    with IPPower(password="") as device:
        device.echoes = False
        driver(device, "ip9850").port_on(2)
        assert device.outlets["2"] == "on"
        assert [request.target for request in device.requests] == [
            "/set.cmd?cmd=setpower&p62=1",
            "/set.cmd?cmd=getpower",
        ]


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("401 ", True),
        ("200 401", True),
        ("200 <html>401 Unauthorized</html>", True),
        ("200 <html>Error 401.</html>", True),
        ("200 <html>build 1.401</html>", False),
        ("200 <html>4017</html>", False),
        ("200 <html>id=401</html>", False),
        ("200 <html>p61=1,p63=0 401</html>", False),
    ],
)
def test_ip9850_refuses_a_login(said: str, refused: bool) -> None:
    asked = f"GET /set.cmd?user=admin&pass={ip9850.PASSWORD.replace('&', '%26').replace('=', '%3D')}&cmd=getpower"
    with ScriptedWeb([(asked, said)]) as device, pytest.raises((PermanentError, TransientError)) as caught:
        driver(device, "ip9850", username="admin", password=ip9850.PASSWORD).port_status(2)
    assert isinstance(caught.value, PermanentError) == refused
    assert str(caught.value).startswith("login refused by 127.0.0.1:" if refused else "127.0.0.1:")
    assert "s3cr" not in str(caught.value) and "admin" not in str(caught.value)


# -- Lindy IPower


def test_lindy_has_a_port_and_a_login_only_when_that_is_whole() -> None:
    with IPower(login=f"snmp:{lindy.PASSWORD}") as device:
        place = {"ip": "127.0.0.1", "port": str(device.port)}
        bench = strategies.find("LindyIPowerClassic8")(
            "bench", {"driver": "LindyIPowerClassic8", "username": "snmp", "password": lindy.PASSWORD, **place}
        )
        bench.deadline = Deadline(30)
        for port in range(1, 9):
            bench.port_on(port)
            assert device.outlets == {str(other): "on" if other <= port else "off" for other in range(1, 9)}
        for given in ({}, {"username": "snmp"}, {"password": lindy.PASSWORD}):
            with pytest.raises(PermanentError, match=r"it asks for a user name and a password$"):
                driver(device, "LindyIPowerClassic8", **given).port_off(1)
        assert device.outlets["1"] == "on"


# -- SainSmart


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("pages", [0, 1, 2, 4])
def test_sainsmart_boards_of_both_kinds(pages: int, bare: bool) -> None:
    with RelayBoard(pages=pages, bare=bare) as device:
        board = driver(device, "sainsmart")
        for port in (1, 8, 9, 16):
            expected = {**device.outlets, str(port): "on"}
            board.port_on(port)
            assert device.outlets == expected
            assert board.port_status(port) is State.ON
            device.outlets[str(port)] = "off"
            assert board.port_status(port) is State.OFF
            device.outlets[str(port)] = "on"
            board.port_off(port)
            assert device.outlets[str(port)] == "off"


def test_sainsmart_asks_for_four_pages_at_most() -> None:
    with RelayBoard(pages=8) as device:
        assert driver(device, "sainsmart").port_status(16) is State.UNKNOWN
        assert [request.target for request in device.requests] == ["/30000/99"] + ["/30000/42"] * 4
    with Page("<html>Relay-01: ON</html>") as device:  # one that tells nothing of the relay is believed
        driver(device, "sainsmart").port_on(16)
        with pytest.raises(TransientError, match=r"^port 1 is still on after off$"):
            hurried(driver(device, "sainsmart"), 0.2).port_off(1)


def test_sainsmart_without_a_page_of_digits() -> None:
    exchanges = [("GET /30000/99", "404 "), ("GET /30000/42", "200 Relay-01: OFF Relay-02:\n<b>ON</b>")]
    with ScriptedWeb(exchanges) as device:
        assert driver(device, "sainsmart").port_status(2) is State.ON
    with ScriptedWeb([("GET /30000/00", "404 ")]) as device, pytest.raises(PermanentError, match="answered 404"):
        driver(device, "sainsmart").port_off(1)


# -- Server Technology PRO2


def pro2(device: Switched, **settings: Any) -> PDUDriver:
    login = {"username": "admn", "password": servertech.PASSWORD}
    return driver(device, "servertechpro2", **login, **settings)


@pytest.mark.parametrize("done", [200, 204])
def test_servertech_answers_an_order_with_a_status_only(done: int) -> None:
    with Switched(done=done) as device:
        rack = pro2(device)
        rack.port_on("AB12")
        assert [port for port, state in device.outlets.items() if state == "on"] == ["AB12"]
        device.odd["AB12"] = "Wake"
        assert rack.port_status("AB12") is State.UNKNOWN
        with pytest.raises(PermanentError, match=r"at PATCH /jaws/control/outlets/BA1: answered 404 Not Found$"):
            rack.port_on("BA1")


def test_servertech_over_tls(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("needs the Debian package openssl")
    self_signed(tmp_path / "key", tmp_path / "certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with Switched(tls=context) as device:
        for insecure in (True, "True", "1", 1):
            rack = pro2(device, protocol="HTTPS", insecure=insecure)
            rack.port_on("AA1")
            assert rack.port_status("AA1") is State.ON
            rack.port_off("AA1")
        assert device.outlets["AA1"] == "off"
        for checked in ({}, {"insecure": False}, {"insecure": "false"}, {"insecure": 0}):
            with pytest.raises(PermanentError, match=r"the certificate of 127.0.0.1:.* is not trusted: self-signed"):
                pro2(device, protocol="https", **checked).port_on("AA1")


def test_servertech_settings_and_ports(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    pdus = {"well": {"protocol": "http", "insecure": "False"}, "odd": {"protocol": "ssh"}, "vague": {"insecure": "no?"}}
    conf.write_text(json.dumps({"pdus": {name: {"driver": "servertechpro2", **pdu} for name, pdu in pdus.items()}}))
    faults = reader.load(str(conf)).faults
    assert [fault.partition(": ")[2] for fault in faults] == [
        "pdus.odd.protocol: 'ssh' is none of http, https",
        "pdus.vague.insecure: 'no?' is neither true nor false",
    ]
    canonical = strategies.find("servertechpro2").canonical_port
    assert (canonical("AA1", {}), canonical("ba12", {})) == ("AA1", "BA12")
    for port in ("1", "A", "1A", "AA1/../AA2", "AA-1", ".."):
        with pytest.raises(ValueError, match=re.escape(repr(port))):
            canonical(port, {})


# -- ubus


@pytest.mark.parametrize("plain", [False, True])
def test_ubus_tells_states_in_two_forms(plain: bool) -> None:
    with Switch(plain=plain) as device:
        switch = driver(device, "ubus")
        for word, state in {
            "Disabled": State.OFF,
            "Searching": State.ON,
            "Delivering power": State.ON,
            "Fault": State.ON,
            "unknown": State.UNKNOWN,
        }.items():
            device.words["off"] = word
            assert switch.port_status(8) is state
        switch.port_on(8)
        assert device.outlets["8"] == "on" and len(device.requests) == 6
        with pytest.raises(PermanentError, match=r"at POST /ubus, poe info: the switch has no port lan9$"):
            switch.port_status(9)
        with pytest.raises(PermanentError, match=r"poe manage: invalid argument; .* \(2\)$"):
            switch.port_off("wan")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"result": [4]}, PermanentError, r"poe manage: not found \(4\)"),
        ({"result": [6]}, PermanentError, r"poe manage: permission denied \(6\)"),
        ({"result": [7]}, TransientError, r"poe manage: timeout \(7\)"),
        ({"result": [99, {}]}, PermanentError, r"poe manage: refused \(99\)"),
        ({"error": {"code": -32000, "message": "Object not found"}}, PermanentError, r"Object not found \(-32000\)"),
        ({"error": {"code": -32003, "message": "ubus request\ntimed out"}}, TransientError, r"timed out \(-32003\)"),
    ],
)
def test_ubus_says_no(answer: dict[str, Any], kind: type[Exception], words: str) -> None:
    asked, _ = conversation("ubus")[0]
    with (
        ScriptedWeb([(asked, f"200 {json.dumps(answer)}")]) as device,
        pytest.raises(kind, match=f"{words}$") as caught,
    ):
        driver(device, "ubus").port_off(3)
    assert str(caught.value).startswith(f"127.0.0.1:{device.port} at POST /ubus, poe manage: ")


def test_ubus_with_and_without_a_login() -> None:
    with Switch(login=True) as device:
        with pytest.raises(PermanentError, match=r"poe manage: Access denied \(-32002\)$"):
            driver(device, "ubus").port_on(1)
        driver(device, "ubus", username="power", password=ubus.PASSWORD).port_on(1)
        assert device.outlets["1"] == "on"
        calls = [json.loads(request.body)["params"] for request in device.requests[1:]]
        assert [(call[0], *call[1:3]) for call in calls] == [
            (ubus.NOBODY, "session", "login"),
            (ubus.SESSION, "poe", "manage"),
        ]
        with pytest.raises(PermanentError, match=r"^login refused by 127.0.0.1:\d+ at POST /ubus$"):
            driver(device, "ubus", username="power", password="wrong").port_on(1)


def test_ubus_ports() -> None:
    canonical = strategies.find("ubus").canonical_port
    assert [canonical(port, {}) for port in ("03", "lan3", "lan03", "3a", "wan")] == ["3", "3", "3", "3a", "wan"]
    for port in ("a/b", "1.5", "lan-1", "é", ""):
        with pytest.raises(ValueError, match=repr(port)):
            canonical(port, {})
