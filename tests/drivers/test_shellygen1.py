# SPDX-License-Identifier: MIT
"""Shelly of the first generation: recorded answers, models with other meters, shutters, and the next generation."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.readings import InletReading, OutletReading
from pdudaemon.drivers.shellygen1 import ShellyGen1
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.web import ScriptedWeb
from tests.devices.shellygen1 import Shelly
from tests.support.action import begun

RELAY = '{"ison":%s,"has_timer":false,"timer_started":0,"timer_duration":0,"timer_remaining":0,"overpower":false,"source":"http"}'


def driver(device: Any, **settings: Any) -> ShellyGen1:
    return begun(ShellyGen1("shelly", {"driver": "shelly_gen1", "ip": f"127.0.0.1:{device.port}", **settings}))


def test_recorded_answers() -> None:
    recorded = [("GET /relay/0?turn=on", "200 " + RELAY % "true"), ("GET /relay/0", "200 " + RELAY % "false")]
    with ScriptedWeb(recorded) as device:
        made = driver(device)
        made.port_on(0)
        assert made.port_status(0) is State.OFF
    assert not device.exchanges


def test_an_order_without_effect() -> None:
    with (
        ScriptedWeb([("GET /relay/1?turn=off", "200 " + RELAY % "true")]) as device,
        pytest.raises(TransientError, match=r"at GET /relay/1: relay 1 is on after off$"),
    ):
        driver(device).port_off(1)


def test_a_shelly_1_measures_nothing() -> None:
    with Shelly(relays=1, model="SHSW-1") as device:
        assert driver(device).read_outlets() == [OutletReading("0", None, State.OFF)]


def test_a_shelly_2_has_one_meter_for_both() -> None:
    with Shelly(relays=2, model="SHSW-21") as device:
        del device.meters[1:]
        device.names = {}
        assert driver(device).read_outlets() == [OutletReading(port, None, State.OFF) for port in "01"]
        assert driver(device).read_inlets() == [InletReading("total", watts=12.5, watt_hours=100)]


def test_an_em_measures_volts_and_watt_hours() -> None:
    with Shelly(relays=1, model="SHEM") as device:
        device.emeters = [{"power": -3.5, "voltage": 231.2, "current": 0.2, "is_valid": True, "total": 1234.5, "pf": 1}]
        assert driver(device).read_outlets() == [OutletReading("0", None, State.OFF, -3.5, 231.2, 0.2, 1234.5)]


def test_a_meter_that_is_not_valid_tells_nothing() -> None:
    with Shelly(relays=1) as device:
        device.meters = [{"power": 0, "is_valid": False, "total": 0}]
        assert driver(device).read_outlets() == [OutletReading("0", None, State.OFF)]


def test_one_that_is_set_up_for_a_shutter() -> None:
    with Shelly(relays=0, model="SHSW-25") as device:
        with pytest.raises(PermanentError, match=r"there is no relay 0, unless it is set up for a shutter \(404\)$"):
            driver(device).port_on(0)
        with pytest.raises(PermanentError, match=r"the device has no relays; is it set up for a shutter, or a lamp\?$"):
            driver(device).read_outlets()
