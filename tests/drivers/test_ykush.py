# SPDX-License-Identifier: MIT
"""YKUSH hubs: the conversation against driver and fake, each port; and what HID devices have in common."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pdudaemon.drivers.ykush import YKUSH
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import hid as transport
from pdudaemon.transports import usb
from pdudaemon.transports.deadline import Deadline
from tests.devices import ykush
from tests.devices.base import hid
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.ykush import Board
from tests.support.action import begun

SAMPLE = conversation("ykush")


def driver(model: str = "YKUSH", serial: str = "YK20345", seconds: float = 120) -> YKUSH:
    return begun(YKUSH("hub", {"driver": model, "serial": serial}), seconds)


def test_the_conversation_against_the_driver() -> None:
    device = hid.Scripted(0x04D8, 0xF2F7, "YK20345", SAMPLE)
    with hid.attached(device):
        driver().port_on(1)
        driver().port_off(1)
    assert device.played == len(SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    board = Board("YKUSH")
    for asked, said in SAMPLE:
        board.heard(bytes.fromhex(asked))
        assert board.report() == bytes.fromhex(said).ljust(64, b"\0")


@pytest.mark.parametrize("model", ykush.NAMES)
def test_each_port(model: str) -> None:
    board = Board(model)
    with hid.attached(board):
        for port in board.outlets:
            others = {other: state for other, state in board.outlets.items() if other != port}
            driver(model).port_on(int(port))
            assert board.outlets == {**others, port: "on"} and driver(model).port_status(int(port)) is State.ON
            board.outlets[port] = "off"
            assert driver(model).port_status(int(port)) is State.OFF
            driver(model).port_on(int(port))


def test_the_first_board_is_taken_without_a_serial_number() -> None:
    first, second = Board("YKUSHXS", "A"), Board("YKUSHXS", "B")
    with hid.attached(Board("YKUSH", "C"), first, second):
        driver("YKUSHXS", "").port_on(1)
    assert (first.outlets["1"], second.outlets["1"]) == ("on", "off")


def test_none_attached() -> None:
    with hid.attached(Board("YKUSH", "YK1"), Board("YKUSH", "YK2"), Board("YKUSH3", "YK20345")):
        with pytest.raises(TransientError, match=r"^no YKUSH YK20345 is attached; found: YK1, YK2$"):
            driver().port_on(1)
        with pytest.raises(TransientError, match=r"^no YKUSHXS is attached; found: none$"):
            driver("YKUSHXS", "").port_on(1)


def test_a_board_without_a_serial_number_is_not_the_one() -> None:
    with hid.attached(Board("YKUSH", "")), pytest.raises(TransientError, match=r"found: none$"):
        driver().port_on(1)


def test_a_reply_that_was_left_over_is_dropped() -> None:
    board = Board("YKUSH")
    board.outlets["2"] = "on"
    board.replies = [bytes([1, 2]).ljust(64, b"\0")] * 3
    with hid.attached(board):
        assert driver().port_status(2) is State.ON


def test_a_port_that_does_not_follow() -> None:
    board = Board("YKUSH")
    board.stuck = True
    with hid.attached(board), pytest.raises(TransientError, match=r": port 2 is off after being switched on$"):
        driver().port_on(2)


@pytest.mark.parametrize("reply", [b"\xff\xff", b"\x01\x12", b"\x00\x11", b"\x01"])
def test_another_reply(reply: bytes) -> None:
    device = hid.Scripted(0x04D8, 0xF2F7, "YK20345", [("1111", reply.hex())])
    words = f"answered {reply.hex(' ')} to command 0x11$"
    with hid.attached(device), pytest.raises(TransientError, match=words):
        driver().port_on(1)


def test_pulled_out_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board("YKUSH")
    monkeypatch.setattr(board, "heard", lambda report: setattr(board, "mood", Mood.GONE))
    with hid.attached(board):
        with pytest.raises(TransientError, match=r"^HID device 04d8:f2f7 at \S+ failed at command 0x11, or was pulled"):
            driver().port_on(1)
        with pytest.raises(TransientError, match="is attached; found: none"):
            driver().port_on(1)


def test_silence_ends_with_the_deadline() -> None:
    with hid.attached(Board("YKUSH", mood=Mood.DEAF)):
        with pytest.raises(DeviceTimeout, match=r"^no answer from HID device 04d8:f2f7 at \S+ at command 0x21$"):
            driver().port_status(1)
        with pytest.raises(DeviceTimeout):
            driver(seconds=0.05).port_on(1)


def test_no_access() -> None:
    with (
        hid.attached(Board("YKUSH", mood=Mood.WRONG_PASSWORD)),
        pytest.raises(PermanentError, match=r"^no access to HID device 04d8:f2f7 at \S+: 60-pdudaemon.rules must"),
    ):
        driver().port_on(1)


def test_a_board_in_use_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RELEASE_SECONDS", 30.0)
    board = Board("YKUSH")
    board.refuses = 2
    with hid.attached(board):
        driver().port_on(1)
        assert board.outlets["1"] == "on"
        monkeypatch.setattr(transport, "RELEASE_SECONDS", 0.2)
        board.held_by = 0
        with pytest.raises(TransientError, match="it was pulled out, or another program uses it"):
            driver().port_on(1)
        board.held_by = None


def test_words_that_are_none_of_its_models() -> None:
    assert not YKUSH.accepts("YKUSHBASE") and not YKUSH.accepts("ykush")


# -- the transport


def test_without_hidapi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hid", None)
    with pytest.raises(PermanentError, match=r"^HID devices need the Python package hidapi \(Debian: python3-hid\)$"):
        driver().port_on(1)


def test_with_another_package_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hid", ModuleType("hid"))
    with pytest.raises(PermanentError, match="the installed package hid is not the one"):
        driver().port_on(1)


def test_the_real_package() -> None:
    """Where it is installed, it is asked; a machine with such a device would be a surprise."""
    if importlib.util.find_spec("hid"):
        assert transport.find(["04d8:f2f7", "ffff:ffff"], Deadline(30)) == []
    else:
        with pytest.raises(PermanentError, match="hidapi"):
            transport.find(["04d8:f2f7"], Deadline(30))


def test_one_thread_at_a_time() -> None:
    with hid.attached(Board("YKUSH")), transport._turn, pytest.raises(DeviceTimeout):
        transport.find(["04d8:f2f7"], Deadline(0.05))


def test_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_SYSFS", tmp_path)
    (tmp_path / "1-1.2").mkdir()
    (tmp_path / "1-1.2" / "busnum").write_text("1\n")
    (tmp_path / "1-1.2" / "devnum").write_text("17\n")
    assert transport._node("1-1.2:1.0") == "/dev/bus/usb/001/017"
    assert transport._node("0001:0011:00") == "/dev/bus/usb/001/017"
    assert transport._node("/dev/hidraw3") == "/dev/hidraw3"
    assert transport._node("1-9:1.0") == "1-9:1.0"


def test_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node").touch()
    assert not usb.denied(str(tmp_path / "node"))
    monkeypatch.setattr(os, "access", lambda *_: False)  # a test may be run by root, who is let in everywhere
    assert usb.denied(str(tmp_path / "node")) and not usb.denied(str(tmp_path / "none"))
