# SPDX-License-Identifier: MIT
"""1-Wire: a real owserver, messages that say it takes time, chips that are not there or do not obey."""

from __future__ import annotations

import pytest

from pdudaemon.drivers.owserver import OWServer
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.owserver import Server
from tests.peers.owserver import owserver
from tests.support.action import begun

CHIP = "29.AABBCCDDEEFF"


def driver(port: int, seconds: float = 120) -> OWServer:
    return begun(OWServer("127.0.0.1", {"driver": "owserver", "port": port}), seconds)


def test_a_real_owserver() -> None:
    with owserver(CHIP, "3A.112233445566", "05.010203040506") as port:
        for outlet in (f"{CHIP}.7", "3A.112233445566.B", "05.010203040506"):
            assert driver(port).port_status(outlet) in (State.ON, State.OFF)
            driver(port)._ask(3, outlet, b"1", 1, "switching")  # it is taken, though the chip keeps nothing
        for outlet in ("29.AABBCCDDEE00.1", "3A.112233445566", f"{CHIP}.A"):
            with pytest.raises(
                PermanentError, match=rf"^127\.0\.0\.1:{port} has no {outlet}, or its chip does not answer"
            ):
                driver(port).port_status(outlet)


def test_answers_that_take_time() -> None:
    with Server(pings=20) as device:
        driver(device.port).port_on("3A.112233445566.A")
        assert [port for port, state in device.outlets.items() if state == "on"] == ["3A.112233445566.A"]


def test_a_chip_that_does_not_obey() -> None:
    with Server() as device:
        device.stuck = True
        with pytest.raises(TransientError):
            driver(device.port, 5).port_on("05.010203040506")
