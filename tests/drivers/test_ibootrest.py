# SPDX-License-Identifier: MIT
"""iBoot-PDU by REST: a token that is kept, and expires; what is refused with a good status."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.ibootrest import IBootPDU
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.web import ScriptedWeb
from tests.devices.ibootrest import PASSWORD, IBoot
from tests.support.action import begun


def driver(device: Any, **settings: Any) -> IBootPDU:
    place = {"driver": "iboot_rest", "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
    return begun(IBootPDU("rack", {**place, **settings}))


def test_a_token_is_kept_until_it_has_expired() -> None:
    with IBoot() as device:
        made = driver(device)
        made.port_on(1)
        made.port_on(2)
        assert device.logins == 1
        device.tokens = set()
        made.port_off(1)
        assert device.logins == 2 and [*device.outlets.values()] == ["off", "on", "off", "off"]


def test_refusals() -> None:
    with IBoot() as device:
        with pytest.raises(PermanentError, match=r"at POST /services/control/: Invalid outlet$"):
            driver(device).port_on(9)
        with pytest.raises(LoginRefused, match=r"^login refused by \S+ at POST /services/auth/$"):
            driver(device, password="wrong").port_on(1)


def test_an_outlet_on_its_way() -> None:
    with IBoot() as device:
        device.cycling = {"2"}
        assert driver(device).port_status(2) is State.UNKNOWN


def test_answers_that_tell_nothing() -> None:
    auth = '{"username":"admin","password":"iboot-secret"}'
    for said in ("[]", '{"success": true, "token": 5}'):
        with (
            ScriptedWeb([(f"POST /services/auth/ {auth}", f"200 {said}")]) as device,
            pytest.raises((TransientError, LoginRefused)),
        ):
            driver(device).port_status(1)
