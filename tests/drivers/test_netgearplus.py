# SPDX-License-Identifier: MIT
"""Netgear Plus: how the password goes over the wire, and the one session, which is always left."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.netgearplus import NetgearPlus, hashed
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from tests.devices.netgearplus import PASSWORD, Switch
from tests.support.action import begun
from tests.support.process import eventually


def driver(device: Switch, seconds: float = 120, **settings: Any) -> NetgearPlus:
    whole = {"driver": "netgear_plus", "ip": f"127.0.0.1:{device.port}", "password": PASSWORD, **settings}
    return begun(NetgearPlus("switch", whole), seconds)


def test_the_password() -> None:
    assert hashed("password", "12345") == "8a0f0ab4e5c082b386cfc3023e0c9250"
    assert hashed("ab", "12345") == hashed("ab345", "12") and hashed("", "1") == "c4ca4238a0b923820dcc509a6f75849b"


def test_the_session_is_left() -> None:
    with Switch() as device:
        switch = driver(device)
        for number, act in enumerate(
            (lambda: switch.port_on(2), lambda: switch.port_status(2), switch.read_outlets), 1
        ):
            act()
            eventually(lambda number=number: device.logouts == number and not device.logged_in)
        with pytest.raises(PermanentError, match=r"has no PoE port 9$"):
            switch.port_on(9)
        eventually(lambda: device.logouts == 4)
        assert PASSWORD.encode() not in device.received


def test_another_session() -> None:
    with Switch() as device:
        device.logged_in = True
        with pytest.raises(TransientError, match=r"another session is open, or too many passwords were wrong$"):
            driver(device).port_on(1)
        assert not device.logouts


def test_a_wrong_password_and_a_port_that_does_not_obey() -> None:
    with Switch() as device:
        with pytest.raises(LoginRefused, match=r"^login refused by \S+ at POST /login.cgi$"):
            driver(device, password="wrong").port_on(1)
        device.obeys = False
        with pytest.raises(TransientError, match=r"port 1 is not on after being switched$"):
            driver(device).port_on(1)


def test_another_web_server() -> None:
    class Other(Switch):
        def answer(self, request: Any) -> Any:
            return super().answer(request)._replace(body="<html>hello</html>")

    with Other() as device, pytest.raises(TransientError, match=r"has no number to hash the password with$"):
        driver(device).port_on(1)
