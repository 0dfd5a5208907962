# SPDX-License-Identifier: MIT
"""WattBox: news between answers, models that do not measure outlets, and outlets that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.wattbox import WattBox as Console
from pdudaemon.drivers.wattboxhttp import WattBoxHTTP
from pdudaemon.errors import LoginRefused, PermanentError
from pdudaemon.power import State
from tests.devices.wattbox import PASSWORD, WattBox
from tests.devices.wattboxhttp import WattBox as Pages
from tests.support.action import begun, recognised
from tests.support.process import eventually


def console(device: WattBox, **settings: Any) -> Console:
    place = {"driver": "wattbox", "ip": "127.0.0.1", "telnetport": device.port, "password": PASSWORD}
    return begun(Console("av", {**place, **settings}))


def pages(device: Pages) -> WattBoxHTTP:
    place = {"driver": "wattbox_http", "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
    return begun(WattBoxHTTP("av", place))


def test_news_are_no_answers() -> None:
    with WattBox() as device:
        device.news = "~OutletStatus=1,1,1,1,1,1,1,1,1,1,1,1\r\n"
        made = console(device)
        made.port_on(3)
        assert device.outlets["3"] == "on" and made.port_status(3) is State.ON and made.port_status(4) is State.OFF
        eventually(lambda: device.exits == 4)


def test_a_model_that_does_not_measure_outlets_is_asked_once() -> None:
    with WattBox() as device:
        device.measures = False
        made = console(device)
        for _ in range(2):
            assert {each.watts for each in made.read_outlets()} == {None}
        assert device.received.count(b"?OutletPowerStatus") == 1


def test_outlets_that_are_not_there() -> None:
    with WattBox() as device, pytest.raises(PermanentError, match=r"has no outlet 13, but 12$"):
        console(device).port_on(13)
    with Pages() as device, pytest.raises(PermanentError, match=r"has no outlet 4, but 3$"):
        pages(device).port_on(4)


def test_a_refused_login() -> None:
    with WattBox() as device, pytest.raises(LoginRefused, match=r"^login refused by "):
        console(device, password="wrong").port_on(1)


def test_an_answer_that_is_behind() -> None:
    with Pages() as device:
        device.slowly = 1
        pages(device).port_on(2)
        assert device.outlets["2"] == "on"


def test_recognised_without_a_login() -> None:
    with WattBox() as device:
        found = recognised(Console, device.port)
        assert found is not None and found.settings == {"driver": "wattbox", "telnetport": device.port}
    with Pages() as device:
        found = recognised(WattBoxHTTP, device.port)
        assert found is not None and found.settings["driver"] == "wattbox_http"
