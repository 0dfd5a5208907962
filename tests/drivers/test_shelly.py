# SPDX-License-Identifier: MIT
"""Shelly Gen2: the conversation against driver and fake, Digest with SHA-256, and errors in the JSON."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.shelly import ShellyGen2
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.shelly import PASSWORD, Shelly
from tests.support.action import begun, hurried

SAMPLE = conversation("shelly")


def driver(device: Any, seconds: float = 120, **settings: Any) -> ShellyGen2:
    return begun(ShellyGen2(f"127.0.0.1:{device.port}", {"driver": "shelly_gen2", **settings}), seconds)


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        driver(device).port_on(0)
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with Shelly() as device:
        for asked, said in SAMPLE:
            _, target, body = asked.split(" ", 2)
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{device.port}{target}", body.encode(), timeout=60) as response:
                status, _, expected = said.partition(" ")
                assert response.status == int(status)
                assert json.loads(response.read())["result"] == json.loads(expected)["result"]
        assert device.outlets == {"0": "on", "1": "off", "2": "off", "3": "off"}


def test_a_login_by_digest() -> None:
    with Shelly(password=PASSWORD) as device:
        shelly = driver(device, password=PASSWORD)
        shelly.port_on(0)
        shelly.port_on(3)
        assert device.outlets == {"0": "on", "1": "off", "2": "off", "3": "on"}
        device.outlets["0"] = "off"
        assert shelly.port_status(0) is State.OFF
        assert PASSWORD.encode() not in device.received
        with pytest.raises(PermanentError, match=r"^login refused by \S+ at POST /rpc \(401\)$"):
            driver(device, password="wrong").port_on(1)
        with pytest.raises(PermanentError, match=r"\(401\): it asks for a user name and a password$"):
            driver(device).port_on(1)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_errors_in_the_json(status: int) -> None:
    with Shelly(Mood.REFUSING) as device:
        device.status = status
        with pytest.raises(PermanentError, match=r"at POST /rpc Switch.Set: Overtemperature \(-109\)$"):
            driver(device).port_on(1)
        device.error = (-114, "Unavailable")
        with pytest.raises(TransientError, match=r"at POST /rpc Switch.Set: Unavailable \(-114\)$"):
            driver(device).port_on(1)
        del device.outlets["3"]
        with pytest.raises(PermanentError, match=r"Switch.GetStatus: Argument 'id', value 3 not found! \(-105\)$"):
            driver(device).port_status(3)


def test_a_device_of_the_first_generation() -> None:
    with (
        ScriptedWeb([(SAMPLE[1][0], "404 Not Found")]) as device,
        pytest.raises(
            PermanentError, match=r"Switch.GetStatus: not a device of the second generation or later \(404\)$"
        ),
    ):
        driver(device).port_status(0)


@pytest.mark.parametrize(
    "said",
    [
        "200 ",
        "200 []",
        "200 {}",
        '200 {"result":null}',
        '200 {"result":{}}',
        '200 {"result":{"output":"on"}}',
        '200 {"error":"no"}',
        "500 <html>",
        "503 ",
    ],
)
def test_answers_that_tell_nothing(said: str) -> None:
    with (
        ScriptedWeb([(SAMPLE[1][0], said)]) as device,
        pytest.raises(TransientError, match=rf"^127.0.0.1:{device.port} at POST /rpc"),
    ):
        driver(device).port_status(0)


def test_an_order_without_effect() -> None:
    with (
        ScriptedWeb([SAMPLE[0], (SAMPLE[1][0], SAMPLE[1][1].replace("true", "false"))]) as device,
        pytest.raises(TransientError, match=r"^port 0 is still off after on$"),
    ):
        hurried(driver(device), 0.25).port_on(0)


def test_a_model_without_meters_and_names() -> None:
    with Shelly() as device:
        device.outlets = {"0": "on", "2": "off", "100": "on"}  # one of an add-on, which is no port
        device.names = {"2": ""}
        assert driver(device).read_outlets() == [
            OutletReading("0", state=State.ON),
            OutletReading("2", state=State.OFF),
        ]


def test_a_device_that_is_set_up_for_covers() -> None:
    with Shelly() as device:
        device.outlets = {}
        with pytest.raises(
            PermanentError, match=r"Shelly.GetStatus: the device has no switches; is it set up for covers"
        ):
            driver(device).read_outlets()
