# SPDX-License-Identifier: MIT
"""The driver `redfish_pdu`: targets of two forms, collections that are told at once or not, several PDUs, locks."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import redfishpdu as module
from pdudaemon.drivers.readings import InletReading, OutletReading
from pdudaemon.drivers.redfishpdu import RedfishPDU
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.redfish import PASSWORD, USER
from tests.devices.redfishpdu import RackPDU
from tests.support.action import begun, hurried
from tests.support.process import eventually

NUMBERS = ("Voltage", "CurrentAmps", "PowerWatts", "EnergykWh")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NEXT_LOOK", 0.02)


def driver(device: Any, seconds: float = 120, **settings: Any) -> RedfishPDU:
    place = {"driver": "redfish_pdu", "ip": f"127.0.0.1:{device.port}", "protocol": "http"}
    return begun(RedfishPDU("rack", {**place, "username": USER, "password": PASSWORD, **settings}), seconds)


@pytest.mark.parametrize("short", [True, False], ids=["as in the mock-up", "as in devices"])
def test_the_target_is_taken_from_the_outlet(short: bool) -> None:
    with RackPDU() as device:
        device.short = short
        driver(device).port_on("A2")
        assert device.outlets == {"A1": "off", "A2": "on", "A3": "off", "B1": "off"}
        eventually(lambda: not device.open)


@pytest.mark.parametrize("expands", [True, False])
def test_outlets_are_read_at_once_where_that_can_be(expands: bool) -> None:
    with RackPDU(expands=expands) as device:
        found = driver(device).read_outlets()
        assert [(each.port, each.name, each.watts) for each in found] == [
            ("A1", "web server", 197.4),
            ("A2", "db", 197.4),
            ("A3", None, 197.4),
            ("B1", None, None),
        ]
        assert len([path for _, path in device.asked if "/Outlets" in path]) == (1 if expands else 5)


def test_where_the_outlets_are_is_known_after_the_first_time() -> None:
    with RackPDU() as device:
        made = driver(device)
        made.port_status("A1")
        device.asked.clear()
        made.port_status("B1")
        assert [path.rpartition("/")[2] for _, path in device.asked] == ["B1"]


def test_outlets_that_cannot_be_switched() -> None:
    with RackPDU() as device:
        device.locked = {"A1"}
        with pytest.raises(PermanentError, match=r"^outlet A1 is locked at the device$"):
            driver(device).port_on("A1")
        with pytest.raises(PermanentError, match=r"has no outlet 'A9', but A1, A2, A3, B1$"):
            driver(device).port_on("A9")
        assert {*device.outlets.values()} == {"off"}


def test_mains_of_three_phases_and_an_outlet_that_is_only_there() -> None:
    with RackPDU() as device:
        device.three_phases = True
        assert driver(device).read_inlets() == [
            InletReading("total", watts=6438.0, watt_hours=56438000.0),
            InletReading("AC1", kind="inlet"),
            InletReading("AC1 Line1", 198.4, 117.8, 8.02, kind="phase"),
            InletReading("AC1 Line2", 231.5, 116.6, 8.66, kind="phase"),
            InletReading("AC1 Line3", 58.1, 118.5, 6.91, kind="phase"),
        ]
        assert driver(device).read_outlets()[-1] == OutletReading("C1", None, State.UNKNOWN)
        with pytest.raises(PermanentError, match=r"^outlet C1 cannot be switched: it has no such action$"):
            driver(device).port_on("C1")


def test_an_outlet_that_tells_its_one_phase_alone() -> None:
    class Bare(RackPDU):
        def outlet(self, path: str, port: str) -> dict[str, Any]:
            said = {key: value for key, value in super().outlet(path, port).items() if key not in NUMBERS}
            phase = {"PolyPhaseVoltage": {"Line1ToNeutral": {"Reading": 117.5}}}
            return {**said, **phase, "PolyPhaseCurrentAmps": {"Line1": {"Reading": 1.68}, "Neutral": None}}

    with Bare() as device:
        assert driver(device).read_outlets()[0] == OutletReading("A1", "web server", State.OFF, volts=117.5, amps=1.68)


def test_several_pdus() -> None:
    with RackPDU(pdus=("1", "2")) as device:
        driver(device, pdu="2").port_on("A1")
        assert ("POST", "/redfish/v1/PowerEquipment/RackPDUs/2/Outlets/A1/Outlet.PowerControl") in device.asked
        for settings in ({}, {"pdu": "3"}):
            with pytest.raises(PermanentError, match=r"has the PDUs 1, 2: `pdu` must be one of them$"):
                driver(device, **settings).port_on("A1")


def test_an_outlet_on_its_way() -> None:
    with RackPDU() as device:
        device.moving = {"A1"}
        assert driver(device).port_status("A1") is State.UNKNOWN
        with pytest.raises(TransientError, match=r"outlet A1 is not on after the order$"):
            hurried(driver(device), 0.3).port_on("A1")
