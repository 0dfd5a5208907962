# SPDX-License-Identifier: MIT
"""A device that does not let us in is told by the type of the error, whichever driver it has."""

from __future__ import annotations

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.errors import DeviceError, LoginRefused
from tests.devices.base.device import Mood
from tests.devices.base.families import FAMILIES
from tests.support.action import begun

NAMES = {name: family for family in FAMILIES if Mood.WRONG_PASSWORD in family.MOODS for name in [*family.NAMES][:2]}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_password_is_a_login_refused(name: str) -> None:
    with NAMES[name].case(name, Mood.WRONG_PASSWORD) as case:
        before = dict(case.device.outlets)
        driver = strategies.find(name)
        port = driver.configured(case.settings).canonical_port(case.ports[0])
        made = begun(driver(case.hostname, case.settings), 20)
        given = int(port) if port.isdecimal() else port
        with pytest.raises(DeviceError) as refused:
            made.handle("status", given)
            made.handle("on", given)  # some let anybody look
        assert case.device.outlets == before
        if "no access to" not in str(refused.value):  # which is how a machine refuses what is attached to it
            assert isinstance(refused.value, LoginRefused), repr(refused.value)
