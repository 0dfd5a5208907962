# SPDX-License-Identifier: MIT
"""MikroTik: what is sent, what ports draw with units behind them, and devices that do not obey or have no PoE."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdudaemon.drivers.mikrotik import MikroTik, _measured
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.web import Answer, Request
from tests.devices.mikrotik import PASSWORD, Switch
from tests.support.action import begun, hurried


def driver(device: Switch, seconds: float = 120, **settings: Any) -> MikroTik:
    whole = {"driver": "mikrotik_poe", "ip": f"127.0.0.1:{device.port}", "protocol": "http"}
    return begun(MikroTik("switch", {**whole, "username": "pdu", "password": PASSWORD, **settings}), seconds)


def test_what_is_sent() -> None:
    with Switch() as device:
        driver(device, poe_out="forced-on").port_on("ether5")
        order = next(each for each in device.requests if each.method == "PATCH" and "authorization" in each.headers)
        assert (order.target, json.loads(order.body)) == ("/rest/interface/ethernet/poe/*5", {"poe-out": "forced-on"})
        assert device.outlets["ether5"] == "on" and driver(device).port_status("ether5") is State.ON


@pytest.mark.parametrize(
    ("said", "value"),
    [("23.9V", 23.9), ("82mA", 0.082), ("1.9W", 1.9), ("0", None), (None, None), ("", None), ("V", None)],
)
def test_units(said: object, value: float | None) -> None:
    found = _measured(said)
    assert found is value or (found is not None and round(found, 6) == value)


def test_a_port_that_does_not_obey() -> None:
    with Switch() as device:
        device.obeys = False
        with pytest.raises(TransientError, match=r"^port ether3 is still off after on$"):
            hurried(driver(device), 0.5).port_on("ether3")
        with pytest.raises(PermanentError, match=r"has no PoE port 'ether1'$"):
            driver(device).port_on("ether1")


def test_a_device_without_poe_and_one_that_does_not_measure() -> None:
    class Without(Switch):
        where = "/rest/interface/ethernet/poe"

        def answer(self, request: Request) -> Answer:
            if request.target.startswith(self.where):
                return self.no(400, "Bad Request", "no such command or directory (poe)")
            return super().answer(request)

    with Without() as device:
        with pytest.raises(PermanentError, match=r"/poe: no such command or directory \(poe\) \(400\)$"):
            driver(device).read_outlets()
        device.where = "/rest/interface/ethernet/poe/monitor"
        told = driver(device).read_outlets()[0]
        assert (told.port, told.name, told.watts) == ("ether2", "Camera", None)
