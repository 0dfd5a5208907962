# SPDX-License-Identifier: MIT
"""Devantech dS boards: the conversation against driver and fake, every relay, and what the board may answer."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.devantechds import DevantechDS
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import devantechds
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation, replay
from tests.devices.devantechds import Board
from tests.support.action import begun

SAMPLE = [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in conversation("devantech_ds378")]


def driver(device: Any, name: str = "devantech_ds378", seconds: float = 120) -> DevantechDS:
    return begun(DevantechDS("relays", {"driver": name, "ip": "127.0.0.1", "port": device.port}), seconds)


def test_the_conversation_against_the_driver() -> None:
    with Scripted(SAMPLE) as device:
        driver(device).port_on(2)
    assert device.played == len(SAMPLE)
    assert bytes(device.received) == b"".join(asked for asked, _ in SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    with Board("devantech_ds378") as device:
        replay(SAMPLE, device.port)
        assert device.outlets["2"] == "on"


@pytest.mark.parametrize("name", devantechds.NAMES)
def test_each_relay_of_each_board(name: str) -> None:
    with Board(name) as device:
        board = driver(device, name)
        for port in map(int, device.outlets):
            expected = {**device.outlets, str(port): "on"}
            board.port_on(port)
            assert device.outlets == expected
            assert board.port_status(port) is State.ON
        for port in map(int, device.outlets):
            board.port_off(port)
            assert board.port_status(port) is State.OFF
            device.outlets[str(port)] = "on"
            assert board.port_status(port) is State.ON


def test_a_refusal() -> None:
    with Board("devantech_ds378", Mood.REFUSING) as device:
        with pytest.raises(PermanentError, match=rf"^127.0.0.1:{device.port} refused switching relay 8 \(0x01\)$"):
            driver(device).port_on(8)
        assert driver(device).port_status(8) is State.OFF


def test_a_relay_that_does_not_follow() -> None:
    with Board("devantech_ds2824") as device:
        device.stuck = True
        with pytest.raises(TransientError, match=f"^127.0.0.1:{device.port}: relay 24 is not on after switching"):
            driver(device, "devantech_ds2824").port_on(24)


@pytest.mark.parametrize("mood", [Mood.GARBLED, Mood.BUSY, Mood.GONE, Mood.DEAF])
def test_trouble(mood: Mood) -> None:
    with Board("devantech_ds378", mood) as device:
        for act in (DevantechDS.port_on, DevantechDS.port_off, DevantechDS.port_status):
            with pytest.raises(TransientError, match=f"127.0.0.1:{device.port}") as caught:
                act(driver(device, seconds=0.3 if mood is Mood.DEAF else 30), 8)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)


def test_the_address_is_by_default_the_name_from_the_factory() -> None:
    assert DevantechDS("relays", {"driver": "devantech_ds378"}).ip == "dS2824"
