# SPDX-License-Identifier: MIT
"""NXP's bcu, as a program that stands in for it: what it prints counts, whatever it ends with."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.bcu import BCU
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.bcu import Board
from tests.support.action import begun

SAMPLE = conversation("bcu")
WHOLE = {"id": "3-7.1", "board": "imx8mpevk", "bootmode": "emmc"}


def driver(device: Board, seconds: float = 60, **settings: Any) -> BCU:
    return begun(BCU("evk", {"driver": "bcu", "bcu_exe": str(device.program), **settings}), seconds)


def prints(board: Board, text: str, status: int = 0) -> None:
    """Let the program print something else."""
    (board.folder / "text").write_text(text)
    board.program.write_text(
        f'#!/bin/sh\necho "$*" >>"{board.folder}/received"\ncat "{board.folder}/text"\nexit {status}\n'
    )


def test_the_conversation_against_the_driver(tmp_path: Path) -> None:
    board = Board(tmp_path)
    made = driver(board, **WHOLE)
    for act, state in ((made.port_on, State.ON), (made.port_off, State.OFF)):
        act(1)
        assert board.outlets["1"] == state
        assert made.port_status(1) is state
    assert board.calls == [asked for asked, _ in SAMPLE]


def test_the_conversation_against_the_fake(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for asked, said in SAMPLE:
        done = subprocess.run([board.program, *asked.split()], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (said, "")


@pytest.mark.parametrize(
    ("settings", "gpio", "on_level", "calls"),
    [
        ({}, "reset", 1, ["init", "set_gpio reset 1"]),
        ({"reset_gpio_active_low": "1"}, "reset", 1, ["init", "set_gpio reset 1"]),
        ({"reset_gpio_active_low": "0"}, "reset", 0, ["init", "set_gpio reset 0"]),
        ({"reset_gpio_active_low": 0, "reset_gpio": "SYS_nRST"}, "SYS_nRST", 0, ["init", "set_gpio SYS_nRST 0"]),
        ({"bootmode": "emmc", "id": "3-7.1"}, "reset", 1, ["init emmc -id=3-7.1", "set_gpio reset 1 -id=3-7.1"]),
    ],
)
def test_settings(settings: dict[str, Any], gpio: str, on_level: int, calls: list[str], tmp_path: Path) -> None:
    board = Board(tmp_path, gpio=gpio, on_level=on_level)
    driver(board, **settings).port_on(1)
    assert board.calls == calls
    assert board.outlets["1"] == "on"
    assert driver(board, **settings).port_status(1) is State.ON
    driver(board, **settings).port_off(1)
    assert board.outlets["1"] == "off"
    assert driver(board, **settings).port_status(1) is State.OFF


def test_no_word_goes_through_a_shell(tmp_path: Path) -> None:
    board = Board(tmp_path)
    with pytest.raises(PermanentError):
        driver(board, bootmode="$(touch x); reboot").port_on(1)
    assert board.calls == ["init $(touch x); reboot"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("said", "status", "error", "words"),
    [
        ("set gpio failed, error = 0xfffffff7\ndone\n", 0, TransientError, "set gpio failed, error = 0xfffffff7"),
        ("set_gpio: error building device linked list\ndone\n", 0, TransientError, "set_gpio: error building device"),
        ("failed to find gpio path\ndone\n", 0, PermanentError, "failed to find gpio path"),
        ("please enter a valid output state\ndone\n", 0, PermanentError, "please enter a valid output state"),
        ("board and EEPROM do not match\n", 1, PermanentError, "board and EEPROM do not match"),
        ("done\n", 0, TransientError, "done"),
        ("reset gpio set to 0 successfully\ndone\n", 0, TransientError, "done"),
        ("", 0, TransientError, "it printed nothing"),
        ("", 3, PermanentError, "it printed nothing"),
    ],
)
def test_failures(said: str, status: int, error: type[Exception], words: str, tmp_path: Path) -> None:
    board = Board(tmp_path)
    prints(board, said, status)
    with pytest.raises(error, match=rf"^{board.program} (init|set_gpio) failed: {words}"):
        driver(board).port_on(1)


@pytest.mark.parametrize(
    "said", ["get gpio failed, error = 0x1\ndone\n", "get reset level=\ndone\n", "level=HIGHER\n", ""]
)
def test_levels_that_are_none(said: str, tmp_path: Path) -> None:
    board = Board(tmp_path)
    prints(board, said)
    with pytest.raises(TransientError, match=rf"^{board.program} get_level failed: "):
        driver(board).port_status(1)


def test_wrong_settings_are_told(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for settings, words in (
        ({"board": "imx93evk"}, r"init failed: imx93evk does not match the EEPROM"),
        ({"bootmode": "nfs"}, r"init failed: failed to find boot mode nfs"),
        ({"reset_gpio": "rst"}, r"set_gpio failed: failed to find gpio path"),
    ):
        with pytest.raises(PermanentError, match=words):
            driver(board, **settings).port_on(1)
    assert board.outlets["1"] == "off"


def test_a_missing_program_and_a_deaf_one(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for exe in ("no-such-bcu", str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(PermanentError) as caught:
            driver(board, bcu_exe=exe).port_on(1)
        assert str(caught.value) == f"the program {exe}, which this driver needs, is not installed"
    board.mood = Mood.DEAF
    with pytest.raises(DeviceTimeout, match=r"no answer within 0.3 s"):
        driver(board, 0.3).port_on(1)


def test_every_port_is_the_one_reset_line() -> None:
    assert {
        BCU.canonical_port(port, {"driver": "bcu"}) for port in ("0", "1", "07", "reset", "RESET_1", "usb:3-7.1")
    } == {"1"}
    for port in ("", "-1", "a b", "1;2"):
        with pytest.raises(ValueError, match=r"is not a port"):
            BCU.canonical_port(port, {"driver": "bcu"})
