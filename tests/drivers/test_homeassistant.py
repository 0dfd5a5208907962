# SPDX-License-Identifier: MIT
"""Home Assistant's REST API: the conversation against driver and fake, switches that are not there, and HTTPS.

The real server is in `tests.peers_slow.test_homeassistant`.
"""

from __future__ import annotations

import socket
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.homeassistant import HomeAssistant as Driver
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import read
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.homeassistant import API_KEY, HomeAssistant
from tests.support.action import begun, hurried
from tests.support.certificate import self_signed

SAMPLE = conversation("homeassistant")


def driver(device: Any, seconds: float = 120, **settings: Any) -> Driver:
    return begun(
        Driver("127.0.0.1", {"driver": "home-assistant-http", "port": device.port, "api_key": API_KEY, **settings}),
        seconds,
    )


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        driver(device).port_on("lab1")
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with HomeAssistant() as device:
        for asked, said in SAMPLE:
            method, target, body = f"{asked} ".split(" ", 2)
            request = urllib.request.Request(
                f"http://127.0.0.1:{device.port}{target}",
                body.strip().encode() or None,
                {"Authorization": f"Bearer {API_KEY}"},
                method=method,
            )
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=60) as response:
                assert f"{response.status} {response.read().decode()}" == said
        assert device.outlets == {"lab1": "on", "rack_2": "off"}


def test_switching_and_reading() -> None:
    with HomeAssistant() as device:
        device.outlets["7"] = "off"
        for port, name in (("rack_2", "rack_2"), (7, "7")):
            driver(device).port_on(port)
            assert device.outlets[name] == "on"
            driver(device).port_on(port)  # nothing changes: the answer is an empty list
            device.outlets[name] = "off"
            assert driver(device).port_status(port) is State.OFF


def test_a_switch_that_is_not_there() -> None:
    with HomeAssistant() as device:
        for action in (Driver.port_on, Driver.port_off, Driver.port_status):
            with pytest.raises(
                PermanentError, match=r"at GET /api/states/switch.lab9: there is no such switch \(404\)"
            ):
                action(driver(device), "lab9")
        assert {request.method for request in device.requests} == {"GET"}


def test_states_that_are_neither_on_nor_off() -> None:
    with HomeAssistant() as device:
        device.outlets = {"lab1": "unavailable", "rack_2": "unknown"}
        for port in device.outlets:
            assert driver(device).port_status(port) is State.UNKNOWN
        with pytest.raises(TransientError, match=r"^127.0.0.1:\d+ at \S+ /api/states/switch.lab1: .* is unavailable$"):
            driver(device).port_on("lab1")
        driver(device).port_on("rack_2")
        assert device.outlets == {"lab1": "unavailable", "rack_2": "on"}


def test_an_order_without_effect() -> None:
    with HomeAssistant() as device:
        device.obeys = False
        with pytest.raises(TransientError, match=r"^port lab1 is still off after on$"):
            hurried(driver(device), 0.5).port_on("lab1")


def test_refusals() -> None:
    with (
        HomeAssistant(Mood.WRONG_PASSWORD) as device,
        pytest.raises(
            PermanentError, match=r"^login refused by \S+ at GET /api/\S+ \(401\): the api_key is not valid$"
        ),
    ):
        driver(device).port_on("lab1")
    with (
        HomeAssistant(Mood.REFUSING) as device,
        pytest.raises(PermanentError, match=r"at POST /api/services/switch/turn_on: answered 400 Bad Request$"),
    ):
        driver(device).port_on("lab1")


@pytest.mark.parametrize("said", ["200 ", "200 []", "200 {}", '200 {"state":1}', "502 "])
def test_answers_that_tell_nothing(said: str) -> None:
    with (
        ScriptedWeb([(SAMPLE[0][0], said)]) as device,
        pytest.raises(TransientError, match=r"^127.0.0.1:\d+ at GET /api/states/switch.lab1: "),
    ):
        driver(device).port_status("lab1")


class OverTLS(HomeAssistant):
    """A server behind TLS, with a certificate of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self_signed(folder / "key.pem", folder / "certificate.pem")
        self.context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    def converse(self, connection: socket.socket) -> None:
        with self.context.wrap_socket(connection, server_side=True) as secured:
            super().converse(secured)


def test_https(tmp_path: Path) -> None:
    with OverTLS(tmp_path) as device:
        driver(device, protocol="https", insecure=True).port_on("lab1")
        assert device.outlets["lab1"] == "on" and API_KEY.encode() in device.received
        device.received.clear()
        with pytest.raises(PermanentError, match=rf"127.0.0.1:{device.port}.*certificate"):
            driver(device, protocol="https").port_off("lab1")
        assert not device.received


def test_settings_and_ports() -> None:
    assert read(Driver, {"driver": "home-assistant-http"})[1] == {"api_key": "is missing: long-lived access token"}
    assert Driver("home.example", {"driver": "home-assistant-http", "api_key": "x"}).hostname == "home.example"
    assert (
        Driver("home", {"driver": "home-assistant-http", "api_key": "x", "hostname": "192.0.2.9"}).hostname[:3] == "192"
    )
    for port in ("lab_1", "switch.lab_1", "Switch.Lab_1"):
        assert Driver.canonical_port(port, {}) == "lab_1"
    for port in ("", "switch.", "switch.switch.x", "light.x", "a b", "a/b", "a?b", "..", "ä"):
        with pytest.raises(ValueError, match="is not a port"):
            Driver.canonical_port(port, {})


@pytest.mark.parametrize(
    ("sensors", "why"),
    [
        ([], "is not an object of ports"),
        ({"lab1": "power"}, "is not an object of ports"),
        ({"lab1": {"watt": "power"}}, "'watt' is none of watts, volts, amps, watt_hours; did you mean 'watts'?"),
        ({"lab1": {"watts": 3}}, "3 is not the name of a sensor"),
        ({"a/b": {"watts": "x"}}, "'a/b' is not a port"),
    ],
)
def test_sensors_that_cannot_be(sensors: object, why: str) -> None:
    faults = hooks.faults(Driver, {"driver": "home-assistant-http", "api_key": "x", "sensors": sensors})
    assert why in faults["sensors"]


@pytest.mark.parametrize(("unit", "state", "watts"), [("kW", "0.25", 250), ("mW", "1500", 1.5), ("V", "3", None)])
def test_units_of_sensors(unit: str, state: str, watts: float | None) -> None:
    with HomeAssistant() as device:
        device.others["sensor.x"] = (state, {"unit_of_measurement": unit})
        first, second = driver(device, sensors={"rack_2": {"watts": "x"}}).read_outlets()
        assert (first.watts, second.watts) == (None, watts)
