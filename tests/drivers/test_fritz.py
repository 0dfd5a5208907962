# SPDX-License-Identifier: MIT
"""FRITZ!Box: the vendor's examples of its logins, rights, plugs that are not there, and hostile challenges."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.fritz import Fritz, response
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.web import Answer, Request
from tests.devices.fritz import PASSWORD, USER, Box
from tests.support.action import begun, hurried, recognised
from tests.support.process import eventually

AIN = 116570272633


def driver(device: Box, seconds: float = 120, **settings: Any) -> Fritz:
    place = {"driver": "fritz", "ip": f"127.0.0.1:{device.port}", "username": USER, "password": PASSWORD}
    return begun(Fritz("home", {**place, **settings}), seconds)


def test_the_examples_of_the_vendor() -> None:
    new = "5A1722$1798a1672bca7c6463d6b245f82b53703b0f50813401b03e4045a5861e689adb"
    assert response("2$10000$5A1711$2000$5A1722", "1example!") == new
    assert response("1234567z", "äbc") == "1234567z-9e224a41eeefa284df7bb0f26c2913e2"
    assert response("1234567z", "a€") == response("1234567z", "a.")


@pytest.mark.parametrize("challenge", ["2$9999999$5A17$1$5A17", "2$0$5A17$1$5A17", "2$1$5A1$1$5A17"])
def test_challenges_that_make_no_sense(challenge: str) -> None:
    with pytest.raises(TransientError, match=r"^the challenge of the box makes no sense$"):
        response(challenge, "x")


@pytest.mark.parametrize("old", [False, True])
def test_a_session_is_ended_and_the_password_is_never_sent(old: bool) -> None:
    with Box() as device:
        device.old = old
        driver(device).port_on(AIN)
        assert device.outlets[str(AIN)] == "on" and PASSWORD.encode() not in device.received
        eventually(lambda: not device.open)
        with pytest.raises(LoginRefused, match=r"^login refused by \S+ at POST /login_sid.lua$"):
            driver(device, password="wrong").port_on(AIN)


def test_an_ain_as_it_stands_on_the_plug() -> None:
    for said in ("11657 0272633", "116570272633", "0116570272633"):
        assert Fritz.canonical_port(said, {"driver": "fritz"}) == str(AIN)
    assert Fritz.canonical_port("08761 0000434", {"driver": "fritz"}) == "087610000434"


def test_a_user_without_the_right() -> None:
    with Box() as device:
        device.may = False
        with pytest.raises(LoginRefused, match=r"the user has no right for smart home$"):
            driver(device).port_on(AIN)


def test_plugs_that_are_not_there() -> None:
    with Box() as device:
        with pytest.raises(PermanentError, match=r"the box has no plug 999990000000 \(400\)$"):
            driver(device).port_status(999990000000)
        device.present = set()
        assert driver(device).port_status(AIN) is State.UNKNOWN
        assert {each.state for each in driver(device).read_outlets()} == {State.UNKNOWN}


def test_a_box_that_wants_to_be_left_alone() -> None:
    with Box() as device:
        device.block = 1
        driver(device).port_on(AIN)
        assert device.outlets[str(AIN)] == "on"
        device.block = 1000
        with pytest.raises(TransientError):
            hurried(driver(device), 0.5).port_off(AIN)


@pytest.mark.parametrize("said", ["", "<x", "<!DOCTYPE x [<!ENTITY a 'b'>]><SessionInfo/>", "<SessionInfo/>"])
def test_answers_that_tell_nothing(said: str) -> None:
    class Odd(Box):
        def answer(self, request: Request) -> Answer:
            return Answer(200, said)

    with Odd() as device, pytest.raises(TransientError, match=r"at GET /login_sid.lua"):
        driver(device).port_status(AIN)


def test_recognised_without_a_login() -> None:
    with Box() as device:
        found = recognised(Fritz, device.port)
        assert found is not None and found.settings == {"driver": "fritz", "ip": f"127.0.0.1:{device.port}"}
