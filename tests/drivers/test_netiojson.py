# SPDX-License-Identifier: MIT
"""NETIO's JSON API: the conversation against driver and fake, and answers of other kinds."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any

import pytest

from pdudaemon.drivers.netiojson import NetioJSON
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.netiojson import PASSWORD, Netio
from tests.support.action import begun

SAMPLE = conversation("netiojson")


def driver(device: Any, seconds: float = 120, **settings: Any) -> NetioJSON:
    given = {"driver": "netiojson", "port": device.port, "username": "netio", "password": PASSWORD, **settings}
    return begun(NetioJSON("127.0.0.1", given), seconds)


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        driver(device).port_on(2)
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with Netio(outputs=2) as device:
        for asked, said in SAMPLE:
            method, target, body = asked.split(" ", 2)
            login = base64.b64encode(f"netio:{PASSWORD}".encode()).decode()
            client = http.client.HTTPConnection("127.0.0.1", device.port, timeout=60)
            client.request(method, target, body, {"Authorization": f"Basic {login}"})
            response = client.getresponse()
            status, _, expected = said.partition(" ")
            assert response.status == int(status)
            # A device says more of each output than the sample, which has only what matters.
            answered = json.loads(response.read())["Outputs"]
            assert [{"ID": o["ID"], "State": o["State"]} for o in answered] == json.loads(expected)["Outputs"]
            client.close()
        assert device.outlets == {"1": "off", "2": "on"}


def test_switching_and_reading() -> None:
    with Netio() as device:
        netio = driver(device)
        netio.port_on(4)
        assert device.outlets == {"1": "off", "2": "off", "3": "off", "4": "on"}
        assert netio.port_status(4) is State.ON
        device.outlets["4"] = "off"
        assert netio.port_status(4) is State.OFF
        assert PASSWORD.encode() not in device.received


def test_refusals() -> None:
    for mood, status in ((Mood.WRONG_PASSWORD, 401), (Mood.REFUSING, 403)):
        with (
            Netio(mood) as device,
            pytest.raises(PermanentError, match=rf"^login refused by \S+ at POST /netio.json \({status}\)$"),
        ):
            driver(device).port_on(1)
    with Netio() as device, pytest.raises(PermanentError, match=r"the device has no output 7$"):
        driver(device, number_of_outputs=8).port_status(7)


@pytest.mark.parametrize(
    "said",
    [
        "200 not JSON",
        "200 []",
        '200 {"Outputs": 3}',
        '200 {"Outputs": ["a"]}',
        '200 {"Outputs": [{"ID": 2}]}',
        '200 {"Outputs": [{"ID": 2, "State": []}]}',
        '200 {"Outputs": [{"ID": 2, "State": 7}]}',
        '200 {"Outputs": [{"ID": 2, "State": 0}]}',
        "503 ",
    ],
)
def test_answers_that_tell_nothing(said: str) -> None:
    with (
        ScriptedWeb([(SAMPLE[0][0], said)]) as device,
        pytest.raises(TransientError, match=rf"^127.0.0.1:{device.port} at POST /netio.json: "),
    ):
        driver(device).port_on(2)


def test_defaults() -> None:
    netio = NetioJSON("netio.example", {"driver": "netiojson"})
    assert (netio.port, netio.username, netio.password, netio.number_of_outputs) == (80, "admin", "admin", 4)
    assert netio.canonical_port("04", {"driver": "netiojson"}) == "4"
    assert netio.canonical_port("8", {"driver": "netiojson", "number_of_outputs": "8"}) == "8"
    for port in ("0", "5", "a", ""):
        with pytest.raises(ValueError, match=f"'{port}'"):
            netio.canonical_port(port, {"driver": "netiojson"})


def test_a_model_without_meters() -> None:
    with Netio(outputs=2) as device:
        device.metered = False
        made = driver(device)
        assert made.read_outlets() == [OutletReading(port, f"Power output {port}", State.OFF) for port in "12"]
        assert made.read_inlets() == []


def test_outputs_that_the_configuration_leaves_out() -> None:
    with Netio(outputs=4) as device:
        assert [each.port for each in driver(device, number_of_outputs=2).read_outlets()] == ["1", "2"]
