# SPDX-License-Identifier: MIT
"""SynLink: a token in place of a login, several units, and answers that tell nothing."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.synlinkrest import SynLink as Driver
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.web import ScriptedWeb
from tests.devices.synlinkrest import PASSWORD, TOKEN, SynLink
from tests.support.action import begun


def driver(device: Any, **settings: Any) -> Driver:
    return begun(Driver("rack", {"driver": "synlink_rest", "ip": f"127.0.0.1:{device.port}", **settings}))


def test_a_token_in_place_of_a_login() -> None:
    with SynLink() as device:
        driver(device, token=TOKEN).port_on(3)
        assert device.outlets["3"] == "on" and "/api/login" not in [each.target for each in device.requests]
        with pytest.raises(LoginRefused, match=r"^login refused by \S+ at GET /api/outlets \(401\)$"):
            driver(device, token="expired").port_status(3)


def test_several_units_with_the_same_numbers() -> None:
    with SynLink() as device:
        device.twice = True
        with pytest.raises(PermanentError, match=r" has several outlets 3$"):
            driver(device, password=PASSWORD).port_on(3)
        assert {*device.outlets.values()} == {"off"}
        with pytest.raises(PermanentError, match=r" has no outlet 9$"):
            driver(device, password=PASSWORD).port_status(9)


@pytest.mark.parametrize("said", ["{}", "[1]", '[{"state": "ON"}]', '[{"id": "x-1", "state": "ON"}]'])
def test_answers_that_tell_nothing(said: str) -> None:
    with ScriptedWeb([("GET /api/outlets", f"200 {said}")]) as device, pytest.raises(TransientError, match=r"outlets"):
        driver(device, token=TOKEN).port_status(1)


def test_a_state_in_between() -> None:
    with ScriptedWeb([("GET /api/outlets", '200 [{"id": "1-5", "state": "REBOOT"}]')]) as device:
        assert driver(device, token=TOKEN).port_status(1) is State.UNKNOWN
