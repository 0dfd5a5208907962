# SPDX-License-Identifier: MIT
"""UniFi: both generations of consoles, sessions that end, whole lists that are replaced, and slow provisioning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.unifi import UniFi
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.web import Answer, Request
from tests.devices.unifi import MAC, PASSWORD, Console
from tests.support.action import begun


def driver(console: Console, seconds: float = 120, **settings: Any) -> UniFi:
    whole = {"driver": console.kind, "ip": f"127.0.0.1:{console.port}", "protocol": "http", "device": MAC}
    return begun(UniFi("switch", {**whole, "username": "pdu", "password": PASSWORD, **settings}), seconds)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", ["unifi_poe", "unifi_pdu"])
def test_both_generations(kind: str, old: bool) -> None:
    with Console(kind=kind, old=old) as device:
        unifi = driver(device, device="lab Switch")
        unifi.port_on(2)
        assert device.outlets["2"] == "on" and unifi.port_status(2) is State.ON
        unifi.port_off(2)
        assert device.outlets["2"] == "off" and unifi.port_status(2) is State.OFF
        assert device.logins == 1  # for all of it


def test_what_else_is_set_stays() -> None:
    with Console() as device:
        driver(device).port_on(2)
        sent = json.loads(next(each for each in device.requests if each.method == "PUT").body)["port_overrides"]
        assert sent == [
            {"port_idx": 4, "name": "uplink", "portconf_id": "77", "speed": 1000},
            {"port_idx": 2, "portconf_id": "55", "poe_mode": "auto"},
        ]
        driver(device, poe_mode="pasv24").port_on(4)
        assert device.overrides[0] == {
            "port_idx": 4,
            "name": "uplink",
            "portconf_id": "77",
            "speed": 1000,
            "poe_mode": "pasv24",
        }
        assert driver(device).port_status(4) is State.ON
    with Console(kind="unifi_pdu") as device:
        driver(device).port_on(1)
        assert device.overrides == [{"index": 1, "name": "Modem", "cycle_enabled": True, "relay_state": True}]
        driver(device).port_on(3)
        assert device.overrides[1] == {"index": 3, "name": "Outlet 3", "cycle_enabled": False, "relay_state": True}


def test_a_session_that_has_ended() -> None:
    with Console() as device:
        unifi = driver(device)
        unifi.port_on(1)
        device.sessions_open.clear()
        unifi.port_off(1)
        assert device.logins == 2 and device.outlets["1"] == "off"


def test_provisioning_takes_its_time() -> None:
    with Console() as device:
        device.lag = 2
        driver(device).port_on(1)
        assert device.outlets["1"] == "on" and not device._behind


@pytest.mark.parametrize("old", [False, True])
def test_a_wrong_password(old: bool) -> None:
    why = r"^login refused by \S+ at POST /api/(auth/)?login \(40[03]\)$"
    with Console(old=old) as device, pytest.raises(LoginRefused, match=why):
        driver(device, password="wrong").port_on(1)


class Strange(Console):
    """Answers what is asked of devices with something else."""

    def __init__(self, status: int, said: str, where: str = "stat/device") -> None:
        super().__init__()
        self.instead = Answer(status, said)
        self.where = where

    def answer(self, request: Request) -> Answer:
        found = super().answer(request)
        return self.instead if self.where in request.target else found


@pytest.mark.parametrize(
    ("device", "kind", "why"),
    [
        (
            Strange(200, '{"meta":{"rc":"error","msg":"api.err.NoSiteContext"},"data":[]}'),
            PermanentError,
            "NoSiteContext",
        ),
        (
            Strange(400, '{"meta":{"rc":"error","msg":"api.err.IdInvalid"},"data":[]}'),
            PermanentError,
            r"IdInvalid \(400\)",
        ),
        (
            Strange(200, '{"meta":{"rc":"ok"},"data":[]}'),
            PermanentError,
            f"has no device '{MAC}' at the site 'default'",
        ),
        (Strange(200, "[]"), TransientError, "is not that of a UniFi console"),
        (Strange(200, "<html>"), TransientError, "is not JSON"),
        (Strange(429, "{}", "auth/login"), TransientError, "too many logins"),
        (
            Strange(200, '{"meta":{"rc":"error","msg":"api.err.LoginRequired"},"data":[]}'),
            LoginRefused,
            "login refused",
        ),
    ],
)
def test_what_a_console_may_say(device: Strange, kind: type[Exception], why: str) -> None:
    with device, pytest.raises(kind, match=why):
        driver(device).port_status(1)


def test_ports_that_are_not_there() -> None:
    with Console() as device:
        for port in (5, 9):  # none; one without PoE
            with pytest.raises(PermanentError, match=f"has no port {port} that can be switched$"):
                driver(device).port_on(port)
            with pytest.raises(PermanentError, match=f"has no port {port} that can be switched$"):
                driver(device).port_status(port)


@pytest.mark.parametrize(
    ("settings", "key"), [({"site": "a/../b"}, "site"), ({"username": None}, "username"), ({"device": None}, "device")]
)
def test_settings_that_cannot_work(settings: dict[str, Any], key: str) -> None:
    whole = {"driver": "unifi_poe", "device": MAC, "username": "pdu", **settings}
    assert hooks.faults(UniFi, {name: value for name, value in whole.items() if value is not None}).keys() == {key}
