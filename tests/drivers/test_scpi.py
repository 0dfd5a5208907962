# SPDX-License-Identifier: MIT
"""Bench supplies: the words of each maker, errors in their queue, and supplies that do not obey."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.scpi import SCPI
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.scpi import Supply
from tests.support.action import begun


def driver(device: Supply, seconds: float = 30) -> Any:
    return begun(SCPI("psu", {"driver": device.kind, "ip": "127.0.0.1", "tcpport": device.port}), seconds)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("scpi", b"OUTP ON\nSYST:ERR?\nOUTP?\n"),
        ("scpi-keysight", b"OUTP ON,(@1)\nSYST:ERR?\nOUTP? (@1)\n"),
        ("scpi-rigol", b":OUTP CH1,ON\nSYST:ERR?\n:OUTP? CH1\n"),
        ("scpi-siglent", b"OUTPUT CH1,ON\nSYST:ERR?\nSYSTEM:STATUS?\n"),
    ],
)
def test_the_words_of_each_maker(kind: str, said: bytes) -> None:
    with Supply(kind) as device:
        driver(device).port_on(1)
        assert bytes(device.received) == said and device.outlets["1"] == "on"


def test_a_refusal_is_in_the_queue_of_errors() -> None:
    with Supply("scpi-rigol", Mood.REFUSING) as device:
        with pytest.raises(PermanentError, match=r"refused ':OUTP CH2,ON': \"Settings conflict\" \(-221\)$"):
            driver(device).port_on(2)
        device.mood = Mood.WELL
        driver(device).port_on(2)
        assert driver(device).port_status(2) is State.ON


def test_a_supply_that_does_not_obey() -> None:
    with Supply("scpi-siglent") as device:
        device.stuck = True
        with pytest.raises(TransientError, match=r": output 2 is off after being switched on$"):
            driver(device).port_on(2)
