# SPDX-License-Identifier: MIT
"""LXA TAC: words for the board, truths for the rest, changes that take a while, and what it protects."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.lxatac import LXATAC
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.lxatac import TAC
from tests.support.action import begun, hurried, recognised


def driver(device: TAC, seconds: float = 120, **settings: Any) -> LXATAC:
    return begun(LXATAC("tac", {"driver": "lxatac", "ip": f"127.0.0.1:{device.port}", **settings}), seconds)


def test_words_for_the_board_and_truths_for_the_rest() -> None:
    with TAC() as device:
        driver(device).port_on("dut")
        driver(device).port_on("port2")
        orders = [(each.target, each.body) for each in device.requests if each.method == "PUT"]
        assert orders == [("/v1/dut/powered", b'"On"'), ("/v1/usb/host/port2/powered", b"true")]


def test_a_change_that_takes_a_while() -> None:
    with TAC() as device:
        device.lag = 2
        assert driver(device).port_status("dut") is State.UNKNOWN
        driver(device).port_on("dut")
        assert device.outlets["dut"] == "on"
        device.lag = 10000
        with pytest.raises(TransientError, match=r"^port dut is still unknown after off$"):
            hurried(driver(device), 0.5).port_off("dut")


def test_a_board_that_is_protected() -> None:
    with TAC() as device:
        device.fault = "OverCurrent"
        with pytest.raises(PermanentError, match=r"/v1/dut/powered: switched off for protection: OverCurrent$"):
            driver(device).port_on("dut")
        found = {each.port: each.state for each in driver(device).read_outlets()}
        assert found["dut"] is State.OFF and len(found) == 7


def test_recognised() -> None:
    with TAC() as device:
        found = recognised(LXATAC, device.port)
        assert found is not None and found.settings == {"driver": "lxatac", "ip": f"127.0.0.1:{device.port}"}
