# SPDX-License-Identifier: MIT
"""Devantech USB modules: the conversation against driver and fake, every relay, a real pty and ser2net."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pdudaemon.drivers.devantechusb import DevantechUSB
from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.power import State
from pdudaemon.transports import serialport
from pdudaemon.transports.deadline import Deadline
from tests.devices import devantechusb
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation
from tests.devices.devantechusb import Module
from tests.peers.ser2net import ser2net
from tests.support.action import begun

SAMPLE = [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in conversation("devantech_usb_rly08b")]
NAME = "devantech_USB-RLY08B"


def driver(device: str, name: str = NAME, seconds: float = 120) -> DevantechUSB:
    return begun(DevantechUSB("bench", {"driver": name, "device": device}), seconds)


@pytest.mark.parametrize(
    ("act", "exchanges"), [(DevantechUSB.port_on, SAMPLE[:2]), (DevantechUSB.port_off, SAMPLE[2:])]
)
def test_the_conversation_against_the_driver(act, exchanges: list[tuple[bytes, bytes]]) -> None:
    with Scripted(exchanges) as device:
        act(driver(f"socket://127.0.0.1:{device.port}"), 3)
    assert device.played == len(exchanges)
    assert bytes(device.received) == b"".join(asked for asked, _ in exchanges)


def test_the_conversation_against_the_fake() -> None:
    with Module(NAME) as device:
        line = os.open(device.path, os.O_RDWR | os.O_NOCTTY)
        for asked, said in SAMPLE:
            os.write(line, asked)
            assert not said or os.read(line, 100) == said
        os.close(line)
        assert device.outlets["3"] == "off" and bytes(device.received) == b"".join(asked for asked, _ in SAMPLE)


@pytest.mark.parametrize("name", devantechusb.NAMES)
def test_each_relay_of_each_module(name: str) -> None:
    with Module(name) as device:
        module = driver(device.path, name)
        for port in map(int, device.outlets):
            expected = {**device.outlets, str(port): "on"}
            module.port_on(port)
            assert device.outlets == expected
        for port in map(int, device.outlets):
            expected = {**device.outlets, str(port): "off"}
            module.port_off(port)
            assert device.outlets == expected
            device.outlets[str(port)] = "on"
            assert module.port_status(port) is State.ON
            device.outlets[str(port)] = "off"
            assert module.port_status(port) is State.OFF


def test_what_was_left_in_the_line() -> None:
    with Module(NAME) as device:
        device.send(b"\xff\xff\xff")  # the answer to a question that another program did not wait for
        assert driver(device.path).port_status(1) is State.OFF
        device.send(b"\x00\x00")
        driver(device.path).port_on(1)


def test_a_relay_that_does_not_follow() -> None:
    with Module(NAME) as device:
        device.stuck = True
        with pytest.raises(TransientError, match=f"^{device.path}: relay 8 is not on after being switched$"):
            driver(device.path).port_on(8)


@pytest.mark.parametrize("mood", [Mood.DEAF, Mood.BUSY])
def test_trouble(mood: Mood) -> None:
    with Module(NAME, mood) as device:
        for act in (DevantechUSB.port_on, DevantechUSB.port_off, DevantechUSB.port_status):
            with pytest.raises(TransientError, match=device.path) as caught:
                act(driver(device.path, seconds=0.2 if mood is Mood.DEAF else 30), 1)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)


def test_not_there() -> None:
    with pytest.raises(TransientError, match=r"^cannot open /dev/no-such-line: No such file or directory$"):
        driver("/dev/no-such-line").port_on(1)


def test_what_is_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialport, "_TTYS", tmp_path / "tty")
    monkeypatch.setattr(serialport, "_DEV", tmp_path / "dev")
    for number, (vendor, product) in enumerate([("04d8", "USB-RLY16L"), ("04d8", "USB-ISS"), ("2a19", "USB-RLY02")]):
        device = tmp_path / f"usb{number}"
        (device / "interface").mkdir(parents=True)
        for name, said in {"idVendor": vendor, "idProduct": "ffee", "product": product}.items():
            (device / name).write_text(f"{said}\n")
        tty = tmp_path / "tty" / f"ttyACM{number}"
        tty.mkdir(parents=True)
        (tty / "device").symlink_to(device / "interface")
    assert [(found.model, dict(found.settings)) for found in DevantechUSB.attached(Deadline(30))] == [
        ("USB-RLY16L", {"driver": "devantech_USB-RLY16L", "device": str(tmp_path / "dev" / "ttyACM0")}),
        ("USB-ISS", {"device": str(tmp_path / "dev" / "ttyACM1")}),
    ]


def test_through_ser2net(tmp_path: Path) -> None:
    with Module(NAME) as device, ser2net(tmp_path, device.path) as (_, plain):
        driver(f"socket://127.0.0.1:{plain}", seconds=15).port_on(8)
        assert device.outlets["8"] == "on"


def test_the_orders_for_all_relays_are_no_ports() -> None:
    for port in ("0", "9", "10", "-10"):
        with pytest.raises(ValueError, match=f"'{port}'"):
            DevantechUSB.canonical_port(port, {"driver": NAME})
