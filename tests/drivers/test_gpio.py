# SPDX-License-Identifier: MIT
"""GPIO lines: numbers of the kernel's calls, lines that stay held, inputs that are only looked at, and who is in the way."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.gpio import GPIO
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import gpio as transport
from tests.devices.base.device import Mood
from tests.devices.gpio import Chip
from tests.support.action import begun


def driver(device: Chip, **settings: Any) -> GPIO:
    return begun(GPIO("shelf", {"driver": "gpio", "chip": device.path, **settings}))


def test_the_numbers_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [transport._GET_CHIP, transport._GET_LINE_INFO, transport._GET_LINE, transport._SET_CONFIG]
    assert [*found, transport._GET_VALUES] == [0x8044B401, 0xC100B405, 0xC250B407, 0xC110B40D, 0xC010B40E]
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "6", "1", "ppc64le")))
    assert transport._call(0x0E, 16) == 0xC010B40E and transport._call(0x01, 68, both=False) == 0x4044B401


@pytest.mark.parametrize("active_low", [False, True])
def test_a_line_stays_held(active_low: bool) -> None:
    with Chip(active_low=active_low) as device:
        board = driver(device, active_low=active_low)
        board.port_on(2)
        assert device.outlets["2"] == ("off" if active_low else "on") and board.port_status(2) is State.ON
        board.port_off(2)
        assert device.outlets["2"] == ("on" if active_low else "off") and device.sessions == 1
        line = next(iter(device.held))
        os.fstat(line)
        del board
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(line)


def test_an_input_is_only_looked_at() -> None:
    with Chip() as device:
        device.outlets["3"] = "on"
        board = driver(device)
        assert board.port_status(3) is State.ON
        assert device.directions["3"] == "input"
        board.port_off(3)
        assert device.directions == {"0": "input", "1": "input", "2": "input", "3": "output"}


def test_who_is_in_the_way() -> None:
    with Chip(Mood.BUSY) as device, pytest.raises(TransientError, match=r"line 1 of \S+ is in use by 'heartbeat'$"):
        driver(device).port_on(1)


def test_what_is_no_line() -> None:
    with Chip() as device:
        with pytest.raises(PermanentError, match=r"^there is no line 9 of "):
            driver(device).port_on(9)
        with pytest.raises(PermanentError, match=r"that is no GPIO chip, or the kernel is older than 5\.10$"):
            driver(device, chip="/dev/null").port_on(1)
        with pytest.raises(TransientError, match=r"^there is no GPIO chip with the label 'pinctrl-none'"):
            driver(device, chip="pinctrl-none").port_on(1)


def test_what_is_there_is_told_without_a_line_taken() -> None:
    with Chip() as device:
        settings = {"driver": "gpio", "chip": device.path}
        assert hooks.lacks(GPIO, settings) == "" and device.sessions == 0
        assert hooks.lacks(GPIO, {**settings, "chip": "/dev/null"}) == "/dev/null is no GPIO chip"
        assert (
            hooks.lacks(GPIO, {**settings, "chip": "/dev/gpiochip99"})
            == "GPIO chip /dev/gpiochip99: No such file or directory"
        )
        assert "there is no GPIO chip with the label 'none', " in str(hooks.lacks(GPIO, {**settings, "chip": "none"}))


def test_a_line_that_does_not_obey() -> None:
    with Chip() as device:
        device.stuck = True
        with pytest.raises(TransientError, match=r" is off after being switched on$"):
            driver(device).port_on(1)
