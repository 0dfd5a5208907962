# SPDX-License-Identifier: MIT
"""ICStation boards: the bytes, what is known of the other relays, boards that lost their power, and --drive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import icstation as module
from pdudaemon.drivers.icstation import ICStation
from pdudaemon.errors import DeviceTimeout, PermanentError
from pdudaemon.power import State
from pdudaemon.transports import serialport
from tests.devices.icstation import Board
from tests.support.action import begun
from tests.support.process import Daemon, eventually

ON, OFF = State.ON, State.OFF


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REST_SECONDS", 0.0)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 20.0)


def driver(device: Board, told: dict[str, tuple[State, float]] | None, seconds: float = 120) -> ICStation:
    made = begun(ICStation("bench", {"driver": f"icstation-{len(device.outlets)}", "device": device.path}), seconds)
    if told is not None:
        made.last_told = lambda: told
    return made


def received(device: Board, wanted: str) -> None:
    eventually(lambda: len(device.received) >= len(bytes.fromhex(wanted)))
    assert bytes(device.received) == bytes.fromhex(wanted)


@pytest.mark.parametrize(("relays", "first"), [(2, "02"), (4, "0e"), (8, "fe")])
def test_the_bytes(relays: int, first: str) -> None:
    with Board(relays) as device:
        board = driver(device, {})
        board.port_on(1)
        received(device, f"50 51 {first}")
        board.port_on(2)
        board.port_off(1)
        eventually(lambda: device.outlets["1"] == "off")
        assert device.outlets["2"] == "on" and bytes(device.received).count(0x50) == 1


def test_after_a_start_the_other_relays_stay_as_they_were_told() -> None:
    with Board(4) as device:
        device.ready = True
        device.outlets |= {"2": "on", "4": "on"}
        driver(device, {"2": (ON, 1000.0), "3": (OFF, 1001.0), "4": (ON, 1002.0)}).port_on(1)
        received(device, "04")
        assert device.outlets == {"1": "on", "2": "on", "3": "off", "4": "on"}


def test_a_board_that_was_plugged_in_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialport, "plugged_in", lambda path: 2000.0)
    with Board(4) as device:
        driver(device, {"2": (ON, 1000.0), "3": (State.UNKNOWN, 1500.0)}).port_on(1)
        received(device, "50 51 0c")
        assert device.outlets == {"1": "on", "2": "on", "3": "off", "4": "off"}
        driver(device, {"1": (ON, 2001.0)}).port_off(1)  # nothing has happened since
        received(device, "50 51 0c 0f")


def test_a_board_that_has_kept_its_power_though_its_line_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialport, "plugged_in", lambda path: 2000.0)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    with Board(4) as device:
        device.ready = True
        driver(device, {"2": (ON, 1000.0)}).port_on(1)
        received(device, "50 0c")


def test_a_board_of_which_nothing_is_known_and_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    with Board(4) as device:
        device.ready = True
        for _ in range(2):
            with pytest.raises(
                DeviceTimeout, match=r"does not say who it is: is it an ICStation board, and has nothing"
            ):
                driver(device, {"3": (State.UNKNOWN, 1000.0)}).port_on(1)


def test_a_board_of_another_model() -> None:
    with (
        Board(8) as device,
        pytest.raises(PermanentError, match=r"says 0xac, hence is icstation-8 and not icstation-4$"),
    ):
        begun(other := ICStation("bench", {"driver": "icstation-4", "device": device.path}))
        other.last_told = dict
        other.port_on(1)


def test_nothing_is_sent_where_nobody_knows_what_the_others_are(daemon: Callable[..., Daemon]) -> None:
    with Board(4) as device:
        drive = daemon({"bench": {"driver": "icstation-4", "device": device.path}}, start=False)
        said = drive.run("--drive", "--hostname", "bench", "--port", "1", "--request", "on")
        assert said.returncode == 1 and "what the others are only a daemon knows" in said.stderr
        assert not device.received


def test_through_a_restart_of_the_daemon(daemon: Callable[..., Daemon]) -> None:
    with Board(4) as device:
        pdus = {"bench": {"driver": "icstation-4", "device": device.path}}
        program = daemon(pdus)
        for port in (2, 3):
            assert program.power("on", "bench", port).status == 200
        eventually(lambda: device.outlets["3"] == "on")
        program.kill()
        program.start()
        assert program.power("on", "bench", 4).status == 200
        eventually(lambda: device.outlets["4"] == "on")
        assert device.outlets == {"1": "off", "2": "on", "3": "on", "4": "on"}
        shown: dict[str, Any] = program.http("/api/v1/pdus/bench/outlets/2").json
        assert (shown["state"], shown["source"]) == ("on", "commanded")


def test_when_a_line_was_plugged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usb = tmp_path / "devices" / "usb1" / "1-2"
    interface = usb / "1-2:1.0" / "ttyUSB7"
    (usb / "power").mkdir(parents=True)
    interface.mkdir(parents=True)
    (usb / "idVendor").write_text("067b\n")
    (usb / "power" / "connected_duration").write_text("5000\n")
    node = tmp_path / "tty" / "ttyUSB7"
    node.mkdir(parents=True)
    (node / "device").symlink_to(interface)
    monkeypatch.setattr(serialport, "_TTYS", tmp_path / "tty")
    monkeypatch.setattr("time.time", lambda: 1000.0)
    assert serialport.plugged_in("/dev/ttyUSB7") == 995.0
    (usb / "power" / "connected_duration").write_text("")
    assert serialport.plugged_in("/dev/ttyUSB7") is None
    assert serialport.plugged_in("/dev/ttyS0") is None
    assert serialport.plugged_in("socket://localhost:1") is None
