# SPDX-License-Identifier: MIT
"""WTI by REST: refusals with HTTP 200, a switch that does not obey, plugs that are not there."""

from __future__ import annotations

import pytest

from pdudaemon.drivers.wtirest import WTI
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.wtirest import PASSWORD, Switch
from tests.support.action import begun, hurried


def driver(device: Switch, seconds: float = 120) -> WTI:
    settings = {"driver": "wti_rest", "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
    return begun(WTI("row", settings), seconds)


def test_a_refusal_in_its_own_words() -> None:
    with Switch(Mood.REFUSING) as device, pytest.raises(PermanentError, match=r": refused: plug access not allowed$"):
        driver(device).port_on(3)


def test_a_switch_that_does_not_obey() -> None:
    with Switch() as device:
        device.stuck = True
        with pytest.raises(TransientError):
            hurried(driver(device), 2).port_on(3)
        assert driver(device).port_status(3) is State.OFF


def test_a_plug_that_is_not_there() -> None:
    with Switch() as device:
        with pytest.raises(PermanentError, match=r" has no plug 9$"):
            driver(device).port_status(9)
        with pytest.raises(PermanentError, match=r": refused: plug access not allowed$"):
            driver(device).port_off(9)
