# SPDX-License-Identifier: MIT
"""USBRelay boards: the conversation against driver and fake, boards and strangers, inverted relays."""

from __future__ import annotations

import threading
import time

import pytest

from pdudaemon.drivers.vusbhid import VUSBHID
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base import usb
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.vusbhid import Board, Joystick
from tests.support.action import begun, hurried

SAMPLE = conversation("vusbhid")


def driver(seconds: float = 120, **settings: object) -> VUSBHID:
    return begun(VUSBHID("relays", {"driver": "vusbhid", **settings}), seconds)


def test_the_conversation_against_the_driver() -> None:
    device = usb.Scripted(0x16C0, 0x05DF, "USBRelay2", SAMPLE)
    with usb.attached(device):
        driver(serial="BITFT").port_off(1)
    assert device.played == len(SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    board = Board(2)
    board.outlets["1"] = "on"
    with usb.attached(board):
        for asked, said in SAMPLE:
            setup, data = bytes.fromhex(asked)[:8], bytes.fromhex(asked)[8:]
            value, index, size = (int.from_bytes(setup[at : at + 2], "little") for at in (2, 4, 6))
            told = board.control(setup[0], setup[1], value, index, data or size, 1)
            assert told == (data or bytes.fromhex(said))


def test_each_relay() -> None:
    board = Board(4)
    with usb.attached(board):
        for port in board.outlets:
            driver().port_on(int(port))
            assert board.outlets[port] == "on" and driver().port_status(int(port)) is State.ON
        assert [*board.outlets.values()] == ["on"] * 4
        driver().port_off(3)
        assert board.outlets == {"1": "on", "2": "on", "3": "off", "4": "on"}
        with pytest.raises(
            PermanentError, match=r"^USB device 16c0:05df \(bus 1 device \d+\) has 4 relays, not relay 5$"
        ):
            driver().port_on(5)


def test_inverted() -> None:
    board = Board(1)
    with usb.attached(board):
        driver(invert=True).port_on(1)
        assert board.outlets == {"1": "off"} and driver(invert=True).port_status(1) is State.ON
        driver(invert=True).port_off(1)
        assert board.outlets == {"1": "on"} and driver(invert=True).port_status(1) is State.OFF


def test_strangers_with_the_same_id_are_left_alone() -> None:
    nameless, gamepad, board = Joystick(), Joystick("Gamepad"), Board(1)
    with usb.attached(nameless, gamepad, board):
        driver().port_on(1)
    assert not nameless.received and not gamepad.received
    assert nameless.kernel_driver and board.kernel_driver


def test_which_board() -> None:
    with usb.attached(Board(1, "AAAAA"), Board(1, "BBBBB")):
        with pytest.raises(
            PermanentError, match=r"^the configuration must say which relay board: AAAAA, BBBBB are att"
        ):
            driver().port_on(1)
        with pytest.raises(TransientError, match=r"^no relay board CCCCC is attached; found: AAAAA, BBBBB$"):
            driver(serial="CCCCC").port_on(1)
    with usb.attached(), pytest.raises(TransientError, match=r"^no relay board is attached; found: none$"):
        driver().port_on(1)


def test_a_board_that_cannot_be_asked_is_told_of_if_it_could_be_the_one() -> None:
    mute, board = Board(1, "MUTED", Mood.WRONG_PASSWORD), Board(1)
    with usb.attached(mute, board):
        driver(serial="BITFT").port_on(1)
        for settings in ({}, {"serial": "MUTED"}):
            with pytest.raises(PermanentError, match=r"^no access to USB device 16c0:05df"):
                driver(**settings).port_on(1)


def test_a_neighbour_that_hangs_is_asked_but_once() -> None:
    mute, board = Board(1, "MUTED", Mood.DEAF), Board(1)
    with usb.attached(mute, board):
        made = driver(serial="BITFT")
        start = time.monotonic()
        made.port_on(1)
        assert time.monotonic() - start < 20
        assert len(mute.received) == 8 and mute.sessions == 1  # one transfer
        assert made.port_status(1) is State.ON
        assert mute.sessions == 1


def test_a_neighbour_that_does_not_even_tell_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def product(device: usb.Device) -> str | None:
        if device._gadget.mood is Mood.DEAF:
            threading.Event().wait(getattr(device, "default_timeout", 1000) / 1000)
            raise ValueError("The device has no langid")
        return device._gadget.name

    monkeypatch.setattr(usb.Device, "product", property(product))
    with usb.attached(Board(1, "MUTED", Mood.DEAF), Board(1)):
        start = time.monotonic()
        driver(serial="BITFT").port_on(1)
        assert time.monotonic() - start < 20


def test_boards_that_change_places() -> None:
    ours, other = Board(1), Board(1, "OTHER")
    made = driver(serial="BITFT")
    with usb.attached(ours, other):
        made.port_on(1)
        ours.address, other.address = other.address, ours.address
        made.port_off(1)
        made.port_on(1)
    assert ours.outlets["1"] == "on" and other.outlets["1"] == "off"
    with usb.attached(other), pytest.raises(TransientError, match=r"^no relay board BITFT is attached; found: OTHER$"):
        made.port_on(1)


def test_a_serial_number_of_any_bytes() -> None:
    board = Board(1, "é\xff1\0\0")
    board.get_report = lambda number: b"\xe9\xff1\0\0\0\0\0"  # type: ignore[method-assign]
    with usb.attached(board):
        assert driver(serial="\xe9\xff1").port_status(1) is State.OFF


def test_a_relay_that_does_not_follow() -> None:
    board = Board(1)
    board.stuck = True
    with usb.attached(board), pytest.raises(TransientError, match=r"^port 1 is still off after on$"):
        hurried(driver(), 0.5).port_on(1)
