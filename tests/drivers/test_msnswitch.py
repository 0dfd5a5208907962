# SPDX-License-Identifier: MIT
"""MSNswitch: the spellings of its XML, the places of the oldest firmware, tokens, and outlets that cannot stay off."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.msnswitch import COOKIE, PASSWORD, TOKEN, Switch
from tests.support.action import begun


def driver(device: Switch, **settings: Any) -> Any:
    place = {"driver": device.kind, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
    return begun(strategies.find(device.kind)("modem", {**place, **settings}))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "spelled",
    [
        "<outlet_status>%s,%s</outlet_status>",
        "<outlet_status>%s%s</outlet_status>",
        "<outlet_status>%s</outlet_status><outlet_status>%s</outlet_status>",
    ],
)
def test_all_spellings_at_all_places(spelled: str, old: bool) -> None:
    with Switch("msnswitch", spelled=spelled) as device:
        device.old = old
        driver(device).port_on(2)
        assert device.outlets == {"1": "off", "2": "on"}
        assert [driver(device).port_status(port) for port in (1, 2)] == [State.OFF, State.ON]


@pytest.mark.parametrize(
    "spelled", ["%.0s%.0s", "<outlet_status>%s%.0s</outlet_status>", "<outlet_status>%s,%s,1</outlet_status>"]
)
def test_xml_that_tells_nothing(spelled: str) -> None:
    with (
        Switch("msnswitch", spelled=spelled) as device,
        pytest.raises(TransientError, match=r"does not tell the state"),
    ):
        driver(device).port_status(1)


def test_an_order_has_the_cookie_and_the_token() -> None:
    with Switch("msnswitch_622") as device:
        driver(device).port_on(1)
        (order,) = [each for each in device.requests if each.target.startswith("/cgi-bin/control.cgi")]
        assert f"csrftoken={TOKEN}" in order.target and order.headers["cookie"] == COOKIE
        with pytest.raises(LoginRefused, match=r"^login refused by \S+ at POST /goform/login$"):
            driver(device, password="wrong").port_on(1)


def test_an_outlet_that_cannot_stay_off() -> None:
    with Switch("msnswitch_api") as device:
        device.outlets["1"] = "on"
        device.reset_only = {"1"}
        with pytest.raises(PermanentError, match=r"^outlet 1 can be reset, but cannot stay off$"):
            driver(device).port_off(1)
        assert device.outlets["1"] == "on"


def test_answers_with_bare_line_feeds_compressed_unasked() -> None:
    with Switch("msnswitch_api") as device:
        device.packs = True
        driver(device).port_on(2)
        assert device.outlets["2"] == "on" and driver(device).port_status(2) is State.ON
