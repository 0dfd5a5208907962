# SPDX-License-Identifier: MIT
"""Gude's console: the conversations against driver and fake, its habits, logins, and the web interface beside it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.drivers.gude import Gude
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import dialogue, tcp
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.gude import EPC, PASSWORD, StatusPage
from tests.support.action import begun
from tests.support.patience import with_patience
from tests.support.process import eventually

SAMPLES = ["gude1202_on_3", "gude1202_status_3"]


def sample(name: str) -> list[tuple[bytes, bytes]]:
    return [(asked.encode(), said.encode()) for asked, said in conversation(name)]


def driver(device: Any, seconds: float = 120, **settings: Any) -> Gude:
    return begun(Gude("127.0.0.1", {"driver": "gude1202", "telnetport": device.port, **settings}), seconds)


@pytest.mark.parametrize(("name", "act"), [*zip(SAMPLES, (Gude.port_on, Gude.port_status), strict=True)])
def test_the_conversation_against_the_driver(name: str, act: Callable[[Gude, int], State | None]) -> None:
    with Scripted(sample(name)) as device:
        assert act(driver(device), 3) in (None, State.ON)
    assert bytes(device.received) == b"".join(asked for asked, _ in sample(name))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_conversation_against_the_fake(name: str) -> None:
    with EPC() as device:
        device.greeting = ""
        device.echo = "_on_" in name
        device.outlets["3"] = "off" if device.echo else "on"
        with socket.create_connection(("127.0.0.1", device.port), 30) as client:
            answers = client.makefile("rb")
            asked, said = sample(name)[0]
            client.sendall(asked)
            assert answers.read(len(said)) == said
            client.sendall(sample(name)[1][0])
            answers.read()
        eventually(lambda: (device.outlets["3"], device.logouts) == ("on", 1))


@pytest.mark.parametrize(
    "different",
    [
        {},
        {"greeting": ""},
        {"greeting": "OK? 1 ON\r\n>", "echo": False},
        {"echo": False, "numeric": True},
        {"numeric": True, "pushes": "#port 3 1\r\n"},
        {"pushes": "#port 3 OFF\r\n#port 2 ON\r\n#port 4 state OK.\r\n"},
        {"negotiation": b"\xff\xfb\x03\xff\xfb\x01"},
    ],
)
def test_habits(different: dict[str, Any]) -> None:
    with EPC() as device:
        vars(device).update(different)
        for port in (3, 12):
            driver(device).port_on(port)
            assert [n for n, state in device.outlets.items() if state == "on"] == [str(port)]
            assert driver(device).port_status(port) is State.ON
            driver(device).port_off(port)
            assert driver(device).port_status(port) is State.OFF
        eventually(lambda: device.logouts == device.sessions == 8)


def test_an_echo_and_a_push_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "FAREWELL_SECONDS", 0.1)
    for said in ("port 3 state set 1\r\n", "#OK.\r\n#port 3 ON\r\n>", "port 3 OK.\r\n"):

        def attempt(seconds: float, said: str = said) -> None:
            with Scripted([(b"port 3 state set 1\r\n", said.encode()), (b"never", b"")]) as device:
                why = rf"^not what was expected from \S+ at 'port 3 state set 1' within {seconds:g} s"
                with pytest.raises(DeviceTimeout, match=why):
                    driver(device, seconds).port_on(3)
                eventually(lambda: device.received.endswith(b"quit\r"))

        with_patience(attempt, 0.2)


def test_refusals() -> None:
    with EPC(Mood.REFUSING) as device:
        with pytest.raises(PermanentError) as caught:
            driver(device).port_on(3)
        assert str(caught.value) == f"127.0.0.1:{device.port} refused 'port 3 state set 1': ERR. not allowed"
        assert device.outlets["3"] == "off"
        eventually(lambda: device.logouts == 1)


@pytest.mark.parametrize("echo", [True, False])
def test_logins(echo: bool) -> None:
    with EPC() as device:
        device.login, device.echo = True, echo
        login = {"username": "pdudaemon", "password": PASSWORD}
        driver(device, **login).port_on(3)
        assert driver(device, **login).port_status(3) is State.ON
        for given in ({**login, "password": "other"}, {**login, "username": "other"}):
            with pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{device.port}$"):
                driver(device, **given).port_off(3)
        with pytest.raises(
            PermanentError, match=rf"^127.0.0.1:{device.port} requires a login: username and password are to be set$"
        ):
            driver(device).port_off(3)
        assert device.outlets["3"] == "on"


def test_a_login_that_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for greeting, seconds in (("", 0.1), ("hello\r\n>", 60)):
        monkeypatch.setattr(dialogue, "PATIENCE", seconds)
        with EPC() as device:
            device.greeting = greeting
            driver(device, username="pdudaemon", password=PASSWORD).port_on(3)
            assert device.outlets["3"] == "on"
            assert PASSWORD.encode() not in device.received


class Late(EPC):
    """Says nothing before an empty line is there, which it takes for something that is said."""

    def log_in(self) -> None:
        self.terminal.hear()
        super().log_in()


def test_a_console_that_is_late_has_refused_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "PATIENCE", 0.1)
    login = {"username": "pdudaemon", "password": PASSWORD}

    def attempt(seconds: float) -> None:
        monkeypatch.setattr(dialogue, "SETTLING", seconds)
        with Late() as device:
            driver(device, **login).port_on(3)
            assert device.outlets["3"] == "on"
        with Late() as device:
            device.login = True
            with pytest.raises(
                TransientError, match=r" was late at the login prompt, and took an empty line for a name$"
            ):
                driver(device, **login).port_on(3)
            assert PASSWORD.encode() not in device.received

    with_patience(attempt)


def test_the_web_interface_where_the_console_cannot_show() -> None:
    with EPC() as device, StatusPage(device) as page:
        device.shows = False
        device.outlets["5"] = "on"
        assert driver(device, httpport=str(page.port)).port_status(5) is State.ON
        assert driver(device, httpport=page.port).port_status(6) is State.OFF
        eventually(lambda: device.logouts == 2)
        page.login = f"pdudaemon:{PASSWORD}"
        login = {"httpport": page.port, "username": "pdudaemon", "password": PASSWORD}
        assert driver(device, **login).port_status(5) is State.ON


@pytest.mark.parametrize("body", ["{}", '{"outputs":[]}', '{"outputs":[{"state":7}]}', "[1]", "<html>"])
def test_web_pages_that_do_not_tell(body: str) -> None:
    with EPC() as device, ScriptedWeb([("GET /statusjsn.js?components=1", f"200 {body}")]) as page:
        device.shows = False
        with pytest.raises(TransientError, match=rf"^127.0.0.1:{page.port} at GET /statusjsn.js: the answer "):
            driver(device, httpport=page.port).port_status(1)


def test_what_the_console_said_is_told_where_the_web_interface_fails_too() -> None:
    with EPC() as device, ScriptedWeb([("GET /statusjsn.js?components=1", "404 ")]) as page:
        device.shows = False
        with pytest.raises(PermanentError) as caught:
            driver(device, httpport=page.port).port_status(1)
        web = f"127.0.0.1:{page.port} at GET /statusjsn.js: answered 404 Not Found"
        console = f"127.0.0.1:{device.port} refused 'port 1 state show': ERR. unknown command"
        assert str(caught.value) == f"{web}; {console}"


@pytest.mark.parametrize("port", ["0", "13", "-1", "1;2", "on", ""])
def test_bad_ports(port: str) -> None:
    assert Gude.canonical_port("012", {"driver": "gude1202"}) == "12"
    with pytest.raises(ValueError, match=r"is not a port"):
        Gude.canonical_port(port, {"driver": "gude1202"})


def test_all_outlets_by_the_console_where_there_is_no_web_interface() -> None:
    with EPC() as device, StatusPage(device) as page:
        device.outlets["5"] = "on"
        made = driver(device, httpport=page.port)
        page.login = "someone:else"
        found = made.read_outlets()
        assert {each.port: each.state for each in found} == device.outlets and device.sessions == 1
        assert {each.name for each in found} == {None}


def test_a_device_with_fewer_outlets() -> None:
    with EPC() as device, StatusPage(device) as page:
        for port in map(str, range(4, 13)):
            del device.outlets[port]
        page.login = "someone:else"
        assert [each.port for each in driver(device, httpport=page.port).read_outlets()] == ["1", "2", "3"]


def test_neither_way_shows_the_outlets() -> None:
    with EPC() as device, StatusPage(device) as page:
        device.shows = False
        page.login = "someone:else"
        with pytest.raises(PermanentError, match=r"refused 'port 1 state show': ERR\..*; login refused by .*statusjsn"):
            driver(device, httpport=page.port).read_outlets()


@pytest.mark.parametrize("body", ["{}", "[]", '{"sensor_descr":[{}],"sensor_values":[{}]}', '{"sensor_descr":3}'])
def test_a_model_without_meters(body: str) -> None:
    with EPC() as device, ScriptedWeb([("GET /statusjsn.js?components=81921", f"200 {body}")]) as page:
        assert driver(device, httpport=page.port).read_inlets() == []
