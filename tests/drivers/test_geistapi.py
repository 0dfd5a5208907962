# SPDX-License-Identifier: MIT
"""Geist PDUs by their API: sessions that are left, readings behind a login, chains, and PDUs that do not obey."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdudaemon.drivers.geistapi import Geist
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.web import Answer
from tests.devices.geistapi import ID, PASSWORD, PDU
from tests.support.action import begun, hurried


def driver(pdu: PDU, seconds: float = 120, **settings: Any) -> Geist:
    where = {"driver": "geist_api", "ip": f"127.0.0.1:{pdu.port}", "password": PASSWORD}
    return begun(Geist("row", {**where, **settings}), seconds)


def test_the_session_is_left() -> None:
    with PDU() as device:
        driver(device).port_on(2)
        assert device.outlets["2"] == "on" and device.logins == 1 and not device.tokens
        assert driver(device).port_status(2) is State.ON and device.logins == 1
        with pytest.raises(PermanentError, match=r"has no outlet 9: it has 1, 2, 3, 4$"):
            driver(device).port_on(9)
        device.mood = Mood.REFUSING
        with pytest.raises(PermanentError, match=r": refused: Outlet is locked \(1002\)$"):
            driver(device).port_off(2)
        assert device.logins == 2 and not device.tokens


def test_what_is_read_with_a_login_alone() -> None:
    with PDU() as device:
        device.private = True
        assert len(driver(device).read_outlets()) == 4 and device.logins == 1 and not device.tokens
        with pytest.raises(LoginRefused):
            driver(device, password="wrong").read_outlets()


def test_a_chain() -> None:
    with PDU() as device:
        device.chained = True
        with pytest.raises(PermanentError, match=rf"`device` is to be one of {ID}, 0{{16}}$"):
            driver(device).port_on(1)
        driver(device, device=ID).port_on(1)
        assert device.outlets["1"] == "on"


def test_a_pdu_that_does_not_obey() -> None:
    with PDU() as device:
        device.stuck = True
        with pytest.raises(TransientError, match=r"port 1 is still off after on"):
            hurried(driver(device), 2).port_on(1)


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        "{}",
        '{"retCode":true}',
        '{"retCode":"0"}',
        '{"retCode":0,"data":{"a":{"outlet":{"x":{}}}}}',
        '{"retCode":0,"data":{"a":{"outlet":{"0":1}}}}',
    ],
)
def test_answers_that_are_none(said: str) -> None:
    with PDU() as device:
        device.answer = lambda request: Answer(200, said)  # type: ignore[method-assign]
        with pytest.raises(TransientError):
            driver(device).read_outlets()


def test_measurements_that_are_none() -> None:
    with PDU() as device:
        points = {"0": {"type": "realPower", "units": "W", "value": "none"}, "1": 5, "2": {"type": ["x"], "units": {}}}
        outlet = {"0": {"state": "rebooting", "name": "x", "measurement": points}}
        said = json.dumps({"retCode": 0, "data": {"a": {"outlet": outlet}}})
        device.answer = lambda request: Answer(200, said)  # type: ignore[method-assign]
        (told,) = driver(device).read_outlets()
        assert (told.name, told.state, told.watts) == ("x", State.UNKNOWN, None)
