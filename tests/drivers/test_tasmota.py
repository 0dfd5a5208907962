# SPDX-License-Identifier: MIT
"""Tasmota: the conversation against driver and fake, the firmware's habits, and logins that must not be seen."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from pdudaemon.drivers import tasmota
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.tasmota import PASSWORD, Tasmota
from tests.support.action import begun

SAMPLE = conversation("tasmota")


def driver(device: Any, name: str = "brennenstuhl_wspl01_tasmota", **settings: Any) -> tasmota.Tasmota:
    return begun(tasmota.Tasmota("plug", {"driver": name, "ip": f"127.0.0.1:{device.port}", **settings}))


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        driver(device).port_on(2)
        assert driver(device).port_status(2) is State.ON
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with Tasmota(2) as device:
        for asked, said in SAMPLE:
            url = f"http://127.0.0.1:{device.port}{asked.removeprefix('GET ')}"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, timeout=60) as response:
                assert f"{response.status} {response.read().decode()}" == said
        assert device.outlets == {"1": "off", "2": "on"}


@pytest.mark.parametrize("numbered", [False, True])
def test_one_relay(numbered: bool) -> None:
    with Tasmota(1) as device:
        device.set_option_26 = numbered
        plug = driver(device, "sonoff_s20_tasmota")
        plug.port_on(1)
        assert plug.port_status(1) is State.ON
        device.outlets["1"] = "off"
        assert plug.port_status(1) is State.OFF


def test_the_login_goes_in_the_query_only_when_it_is_whole() -> None:
    with Tasmota(4, password=PASSWORD) as device:
        driver(device, "tasmota", port_count=4, username="admin", password=PASSWORD).port_on(4)
        assert device.outlets["4"] == "on"
        assert device.requests[0].target == "/cm?cmnd=Power4%20on&user=admin&password=tas%26mota%3D1"
        with pytest.raises(PermanentError, match=r"^login refused by \S+ at GET /cm \(401\): it asks for a user name"):
            driver(device, "tasmota", port_count=4, username="admin").port_on(4)
        assert device.requests[1].target == "/cm?cmnd=Power4%20on"


def test_a_login_refused_in_other_words() -> None:
    target = "/cm?cmnd=Power1&user=admin&password=wrong"
    with (
        ScriptedWeb([(f"GET {target}", "401 <html>Unauthorized</html>")]) as device,
        pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{device.port} at GET /cm \(401\)$"),
    ):
        driver(device, username="admin", password="wrong").port_status(1)


@pytest.mark.parametrize("old", [False, True])
def test_a_refused_login(old: bool) -> None:
    with Tasmota(2, Mood.WRONG_PASSWORD, PASSWORD, old=old) as device:
        with pytest.raises(PermanentError, match=rf"127.0.0.1:{device.port}.*") as caught:
            driver(device, username="admin", password=PASSWORD).port_on(1)
        assert "login refused" in str(caught.value) and "asks for" not in str(caught.value)
        assert "mota" not in str(caught.value).replace(":", "") and "&" not in str(caught.value)
        assert device.outlets["1"] == "off"


def test_refusals() -> None:
    with (
        Tasmota(2, Mood.REFUSING) as device,
        pytest.raises(PermanentError, match=r"the device does not know the command 'Power1 on'$"),
    ):
        driver(device).port_on(1)
    with Tasmota(2) as device:
        with pytest.raises(PermanentError, match=r"does not know the command 'Power3'$"):
            driver(device, "tasmota", port_count=3).port_status(3)
        device.words = {"on": "AN", "off": "AUS"}
        with pytest.raises(PermanentError, match=r"the state is 'AUS'; set StateText to OFF and ON$"):
            driver(device).port_status(1)


@pytest.mark.parametrize(
    "body", ["", "[]", "not JSON", "{}", '{"POWER":"ON"}', '{"POWER1":"ON"}', '{"POWER2":"OFF"}', '{"Command":"?"}']
)
def test_answers_that_tell_nothing(body: str) -> None:
    with (
        ScriptedWeb([(SAMPLE[0][0], f"200 {body}")]) as device,
        pytest.raises(TransientError, match=f"^127.0.0.1:{device.port} at GET /cm: "),
    ):
        driver(device).port_on(2)


def test_web_log_off() -> None:
    with (
        ScriptedWeb([(SAMPLE[1][0], '200 {"WARNING":"Enable weblog 2 if response expected"}')]) as device,
        pytest.raises(PermanentError, match=r"at GET /cm: Enable weblog 2 if response expected$"),
    ):
        driver(device).port_status(2)


def test_as_many_ports_as_are_said() -> None:
    assert tasmota.Tasmota.canonical_port("8", {"driver": "tasmota", "port_count": "8"}) == "8"


@pytest.mark.parametrize("numbered", [False, True])
def test_a_plug_without_a_meter(numbered: bool) -> None:
    with Tasmota(1) as device:
        device.set_option_26 = numbered
        device.names = ["Desk"]
        made = driver(device, "sonoff_s20_tasmota")
        assert made.read_outlets() == [OutletReading("1", "Desk", State.OFF)]
        assert made.read_inlets() == []


def test_more_ports_than_the_device_has() -> None:
    with Tasmota(2) as device:
        assert [each.port for each in driver(device, "tasmota", port_count=4).read_outlets()] == ["1", "2"]


def test_a_meter_with_a_total_for_each_relay() -> None:
    with Tasmota(2) as device:
        device.energy = {"Total": [1.5, 0.25], "Power": [12, 3], "Voltage": [230, 231], "Current": [0.1]}
        first, second = driver(device).read_outlets()
        assert (first.watts, first.volts, first.amps, first.watt_hours) == (12, 230, 0.1, 1500)
        assert (second.watts, second.volts, second.amps, second.watt_hours) == (3, 231, None, 250)
