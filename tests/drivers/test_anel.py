# SPDX-License-Identifier: MIT
"""ANEL NET-PwrCtrl: the conversation against driver and fake, both layouts, locks, nonsense, the login in the URL."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from typing import Any

import pytest

from pdudaemon.drivers.anel import Anel as Driver
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.anel import PASSWORD, USERNAME, Anel
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.support.action import begun, hurried

SAMPLE = conversation("anel")
HOME, PRO, ADV = "anel_netpwrctrlhome", "anel_netpwrctrlpro", "anel_netpwrctrladv"


def driver(device: Any, name: str = PRO, seconds: float = 120, **settings: Any) -> Driver:
    login = {"username": USERNAME, "password": PASSWORD}
    return begun(Driver(f"127.0.0.1:{device.port}", {"driver": name, **login, **settings}), seconds)


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        begun(Driver(f"127.0.0.1:{device.port}", {"driver": HOME})).port_on(2)
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with Anel("H", username="admin", password="anel") as device:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, f"http://127.0.0.1:{device.port}", "admin", "anel")
        basic = urllib.request.HTTPBasicAuthHandler(passwords)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), basic)
        for asked, said in SAMPLE:
            with opener.open(f"http://127.0.0.1:{device.port}{asked.removeprefix('GET ')}", timeout=60) as response:
                answer = f"{response.status} {response.read().decode()}"
                assert [field.strip() for field in answer.split(";")] == [field.strip() for field in said.split(";")]
        assert device.outlets == {"1": "off", "2": "on", "3": "off"}


@pytest.mark.parametrize(("kind", "name"), [("P", PRO), ("a", ADV), ("H", ADV), ("a", PRO)])
def test_the_layout_is_the_devices(kind: str, name: str) -> None:
    with Anel(kind) as device:
        anel = driver(device, name)
        for port in map(int, device.outlets):
            anel.port_on(port)
            assert [anel.port_status(int(other)) for other in device.outlets] == [*device.outlets.values()]
            assert device.outlets[str(port)] == "on"
        anel.port_off(2)
        assert device.outlets["2"] == "off" and device.outlets["1"] == "on"


def test_the_order_has_the_login_and_no_header_and_nobody_sees_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Anel("P") as device:
        driver(device).port_on(1)
        order = device.requests[0]
        assert order.target == "/?Sw_on=1,pduadmink7&x%239q" and "authorization" not in order.headers
        refused = driver(device, password="wr0ng pw")
        with pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{device.port} at GET /$"):
            refused.port_on(1)
        with pytest.raises(PermanentError, match=r"^login refused by \S+ at GET /strg.cfg \(401\)$"):
            refused.port_status(1)
    assert not any(secret in caplog.text for secret in (PASSWORD, "wr0ng", "k7"))


def test_a_percent_sign_in_a_login() -> None:
    with Anel("P", username="a%b", password="a%41") as device:
        driver(device, username="a%b", password="a%41").port_on(1)
        assert device.outlets["1"] == "on"


@pytest.mark.parametrize("kind", ["H", "a"])
def test_a_locked_socket(kind: str) -> None:
    with Anel(kind) as device:
        device.locked = {"2"}
        with pytest.raises(PermanentError, match=r"^127.0.0.1:\d+ at GET /strg.cfg: socket 2 is locked$"):
            driver(device).port_on(2)
        driver(device).port_off(2)  # it is off
        assert driver(device).port_status(2) is State.OFF
        driver(device).port_on(1)
        assert device.outlets["1"] == "on" and device.outlets["2"] == "off"


def test_nonsense_once_is_forgiven() -> None:
    with Anel("P") as device:
        device.nonsense = 1
        assert driver(device).port_status(8) is State.OFF
        device.nonsense = 2
        with pytest.raises(TransientError, match=r"^127.0.0.1:\d+ at GET /strg.cfg: the answer does not tell the "):
            driver(device).port_status(8)


def test_an_order_without_effect() -> None:
    with Anel("P") as device:
        device.obeys = False
        with pytest.raises(TransientError, match=r"^port 3 is still off after on$"):
            hurried(driver(device), 0.5).port_on(3)


@pytest.mark.parametrize("fields", ["end", ";" * 58 + "end", "1;" * 40 + "END", ";".join(["x"] * 40 + ["end"])])
def test_answers_that_tell_nothing(fields: str) -> None:
    with (
        ScriptedWeb([("GET /strg.cfg", f"200 {fields}")] * 2) as device,
        pytest.raises(TransientError, match=r"does not tell the state of socket 1$"),
    ):
        driver(device).port_status(1)


def test_a_device_that_is_gone() -> None:
    with Anel("P", Mood.GONE) as device, pytest.raises(TransientError, match="connection refused"):
        driver(device).port_on(1)
