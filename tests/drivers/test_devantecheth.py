# SPDX-License-Identifier: MIT
"""Devantech ETH boards: the manual's conversation against driver and fake, and what only these boards have."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.devantecheth import DevantechETH
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from tests.devices import devantecheth
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation, replay
from tests.devices.devantecheth import Board
from tests.support.action import begun

SAMPLE = [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in conversation("devantech_eth008")]


def driver(device: Any, name: str = "devantech_eth008", seconds: float = 120, **settings: Any) -> DevantechETH:
    given = {"driver": name, "port": device.port, "password": devantecheth.PASSWORD, **settings}
    return begun(DevantechETH("127.0.0.1", given), seconds)


def test_the_conversation_against_the_driver() -> None:
    with Scripted(SAMPLE) as device:
        driver(device, password="pw").port_on(3)
    assert device.played == len(SAMPLE)
    assert bytes(device.received) == b"".join(asked for asked, _ in SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    with Board("devantech_eth008", password="pw") as device:
        replay(SAMPLE, device.port)
        assert device.outlets["3"] == "on"


@pytest.mark.parametrize("contact", ["NO", "NC"])
@pytest.mark.parametrize("name", devantecheth.NAMES)
def test_each_relay_of_each_board(name: str, contact: str) -> None:
    with Board(name, contact=contact) as device:
        board = driver(device, name, logic=contact)
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
        assert device.locked


def test_a_board_without_password() -> None:
    with Board("devantech_eth002", password="") as device:
        driver(device, "devantech_eth002", password="").port_on(2)
        assert device.outlets == {"1": "off", "2": "on"}
        assert device.received == b"\x20\x02\x00\x24"


def test_reading_needs_no_login() -> None:
    with Board("devantech_eth484", Mood.WRONG_PASSWORD) as device:
        assert driver(device, "devantech_eth484").port_status(4) is State.OFF
        assert device.received == b"\x24"


def test_refusals() -> None:
    with Board("devantech_eth008", Mood.WRONG_PASSWORD) as device:
        with pytest.raises(PermanentError, match=f"^login refused by 127.0.0.1:{device.port}$"):
            driver(device).port_on(1)
        assert device.received == b"\x79" + devantecheth.PASSWORD.encode()
    with Board("devantech_eth008", Mood.REFUSING) as device:
        with pytest.raises(PermanentError, match=f"^127.0.0.1:{device.port} refused switching relay 1$"):
            driver(device).port_on(1)
        assert device.received.endswith(b"\x7b") and device.locked
    with (
        Board("devantech_eth008") as device,
        pytest.raises(PermanentError, match="refused switching relay 1; does the board want a password"),
    ):
        driver(device, password="").port_on(1)


def test_a_relay_that_does_not_follow() -> None:
    with (
        Scripted([(b"\x20\x01\x00", b"\x00"), (b"\x24", b"\xfe")]) as device,
        pytest.raises(TransientError, match=f"^127.0.0.1:{device.port}: relay 1 is not on after switching"),
    ):
        driver(device, password="").port_on(1)


@pytest.mark.parametrize("mood", [Mood.GARBLED, Mood.BUSY, Mood.GONE, Mood.DEAF])
def test_trouble(mood: Mood) -> None:
    with Board("devantech_eth8020", mood) as device:
        settings = {"port": device.port}
        for act in (DevantechETH.port_on, DevantechETH.port_off, DevantechETH.port_status):
            board = DevantechETH("127.0.0.1", {"driver": "devantech_eth8020", "password": "s3cret", **settings})
            board.deadline = Deadline(0.3 if mood is Mood.DEAF else 30)
            with pytest.raises(TransientError, match=f"127.0.0.1:{settings['port']}") as caught:
                act(board, 20)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)
            assert "s3cret" not in str(caught.value)
