# SPDX-License-Identifier: MIT
"""ESPHome: the conversation against driver and fake, logins as the device asks for them, and names that stay in place."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from pdudaemon.drivers import esphome
from pdudaemon.drivers.esphome import ESPHome as Driver
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.esphome import PASSWORD, USERNAME, ESPHome
from tests.support.action import begun, hurried
from tests.support.patience import with_patience

SAMPLE = conversation("esphome")
LOGIN = {"username": USERNAME, "password": PASSWORD}


def driver(device: Any, seconds: float = 120, **settings: Any) -> Driver:
    return begun(Driver("127.0.0.1", {"driver": "esphome-http", "port": device.port, **settings}), seconds)


def canonical(port: str) -> str:
    return Driver.canonical_port(port, {"driver": "esphome-http"})


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        driver(device, **LOGIN).port_on("relay_1")
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with ESPHome(scheme="Basic") as device:
        where = f"http://127.0.0.1:{device.port}"
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, where, USERNAME, PASSWORD)
        basic = urllib.request.HTTPBasicAuthHandler(passwords)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), basic)
        for asked, said in (SAMPLE[1], SAMPLE[3]):  # each after the 401 that the handler answers
            method, target = asked.split(" ")
            data = b"" if method == "POST" else None
            with opener.open(urllib.request.Request(where + target, data, method=method), timeout=60) as response:
                assert f"{response.status} {response.read().decode()}" == said
        assert device.outlets["relay_1"] == "on"


@pytest.mark.parametrize("scheme", ["", "Basic", "Digest"])
def test_the_login_is_as_the_device_asks(scheme: str) -> None:
    with ESPHome(scheme=scheme) as device:
        driver(device, **LOGIN).port_on("relay_1")
        assert device.outlets["relay_1"] == "on"
        asked = [request.headers.get("authorization", "").partition(" ")[0] for request in device.requests]
        assert [*filter(None, asked)] == [scheme] * 2 if scheme else asked == [""] * 2
        assert all(request.headers["content-length"] == "0" for request in device.requests if request.method == "POST")


@pytest.mark.parametrize("given", [{}, {"username": USERNAME}, {"password": PASSWORD}])
def test_half_a_login_is_none(given: dict[str, str]) -> None:
    with ESPHome(scheme="Digest") as device:
        with pytest.raises(PermanentError, match=r"at POST /switch/relay_1/turn_on \(401\): it asks for a user name"):
            driver(device, **given).port_on("relay_1")
        assert "authorization" not in device.requests[0].headers and len(device.requests) == 1


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_a_refused_login(scheme: str) -> None:
    with (
        ESPHome(Mood.WRONG_PASSWORD, scheme) as device,
        pytest.raises(PermanentError, match=r"^login refused by \S+ at POST /switch/relay_1/turn_on \(401\)$"),
    ):
        driver(device, **LOGIN).port_on("relay_1")


def test_names_and_devices() -> None:
    with ESPHome() as device:
        device.outlets |= {"7": "off", "Küche #2": "off"}
        for port in ("strip/Relay 2", "Küche #2"):
            driver(device).port_on(canonical(port))
            assert device.outlets[port] == "on"
            assert driver(device).port_status(canonical(port)) is State.ON
        driver(device).port_on(7)
        assert device.outlets["7"] == "on"
        assert {request.target for request in device.requests if request.method == "GET"} == {
            "/switch/strip/Relay%202",
            "/switch/K%C3%BCche%20%232",
            "/switch/7",
        }


def test_a_switch_that_is_not_there() -> None:
    with ESPHome() as device:
        for action in (Driver.port_on, Driver.port_status):
            with pytest.raises(PermanentError, match=r"/switch/lamp\S*: the device has no such switch \(404\)$"):
                action(driver(device), "lamp")


def test_orders_take_effect_late_or_never() -> None:
    with ESPHome() as device:
        device.lag = 1
        driver(device).port_on("relay_1")
        assert driver(device).port_status("relay_1") is State.ON
        device.lag = 1000
        with pytest.raises(TransientError, match=r"^port relay_1 is still on after off$"):
            hurried(driver(device), 0.5).port_off("relay_1")


def test_a_device_that_tells_of_less_than_the_last_time_is_listened_to_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(esphome, "_QUIET", seconds)
        with ESPHome() as device:
            made = driver(device)
            every = {each.port for each in made.read_outlets()}
            device.holds, device.pause = 2, 2 * seconds
            assert {each.port for each in begun(made, 120).read_outlets()} == every and len(every) == 3
            device.holds = 1000
            del device.outlets["relay_1"]
            assert {each.port for each in begun(made, 120).read_outlets()} == every - {"relay_1"}

    with_patience(attempt, 0.2)


@pytest.mark.parametrize("value", [True, False])
def test_the_state_with_and_without_value(value: bool) -> None:
    with ESPHome() as device:
        device.value = value
        assert driver(device).port_status("relay_1") is State.OFF
        device.outlets["relay_1"] = "on"
        assert driver(device).port_status("relay_1") is State.ON


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"state":"?"}', '{"value":null}', '{"value":[]}', '{"value":2}'])
def test_answers_that_tell_nothing(body: str) -> None:
    with (
        ScriptedWeb([("GET /switch/relay_1", f"200 {body}")]) as device,
        pytest.raises(TransientError, match=r"^127.0.0.1:\d+ at GET /switch/relay_1: "),
    ):
        driver(device).port_status("relay_1")


def test_each_switch_has_one_spelling() -> None:
    for spellings in (
        ("relay_1",),
        ("Relay%201", "Relay 1"),
        ("strip/Relay%20%231", "strip/Relay #1", "strip%2FRelay%20%231"),
        ("K%C3%BCche%20%28links%29", "Küche (links)", "K%c3%bcche (links)"),
        ("03",),
        ("Fan%2050%25", "Fan 50%"),
        ("Licht%20%E2%80%93%20K%C3%BCche", "Licht – Küche"),
        ("Pump%20%5B1%5D%21", "Pump [1]!"),
        ("x%3Fy%3D1", "x?y=1"),
        ("%24%28id%29%3B%5C", "$(id);\\"),
        ("%2520",),
    ):
        for port in spellings:
            assert canonical(port) == spellings[0]
        assert canonical(canonical(spellings[-1])) == spellings[0]


BAD = [
    *("", " ", ".", "..", "/", "x ", " x", "a/ b", "x" * 101),
    *("../x", "x/..", "./x", "x/.", "/x", "x/", "x//y", "x/y/z", "%2e%2e/x", "x%2f..", "x%2Fy%2fz", "%2e", "%20"),
    *("x\0", "x%00", "x\ny", "x%0d%0aY: z", "\x7f", "%ff"),
    *("a/turn_on", "a/turn_off", "a/toggle", "a%2fturn_on"),
]


@pytest.mark.parametrize("port", BAD)
def test_what_would_leave_its_place(port: str) -> None:
    with pytest.raises(ValueError, match="is not a port: the name of a switch, or DEVICE/NAME") as caught:
        canonical(port)
    assert str(caught.value).startswith(repr(port))
