# SPDX-License-Identifier: MIT
"""Numato modules: the conversation against driver and fake, every relay's id, a real pty and ser2net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.numato import Numato
from pdudaemon.drivers.numatoeth import NumatoEthernet
from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from tests.devices import numato, numatoeth
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation, replay_on_line
from tests.devices.numato import Module
from tests.peers.ser2net import ser2net
from tests.support.action import begun

SAMPLE = [(asked.encode(), said.encode()) for asked, said in conversation("numato_usb4")]


def driver(relays: int, device: str, seconds: float = 120) -> Numato:
    return begun(Numato("bench", {"driver": f"NumatoUSB{relays}", "device": device}), seconds)


def test_the_conversation_against_the_driver() -> None:
    with Scripted(SAMPLE) as device:
        driver(4, f"socket://127.0.0.1:{device.port}").port_on(3)
    assert device.played == len(SAMPLE)
    assert bytes(device.received) == b"".join(asked for asked, _ in SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    with Module(4) as device:
        replay_on_line(SAMPLE, device.path)
        assert device.outlets == {"1": "off", "2": "off", "3": "on", "4": "off"}


@pytest.mark.parametrize("name", numato.NAMES)
def test_each_relay_of_each_module(name: str) -> None:
    with numato.case(name, Mood.WELL) as case:
        module = Numato(case.hostname, case.settings)
        for port in case.ports:
            module.deadline = Deadline(30)
            expected = {**case.device.outlets, port: "on"}
            module.port_on(int(port))
            assert case.device.outlets == expected
        for port in case.ports[:: max(1, len(case.ports) // 4)]:
            case.device.outlets[port] = "off"
            assert module.port_status(int(port)) is State.OFF
            module.port_on(int(port))
            assert module.port_status(int(port)) is State.ON
            module.port_off(int(port))
            assert case.device.outlets[port] == "off"


@pytest.mark.parametrize(("relays", "port", "sent"), [(4, 3, "2"), (32, 32, "V"), (64, 32, "31"), (16, 16, "f")])
def test_ids(relays: int, port: int, sent: str) -> None:
    with Module(relays) as device:
        driver(relays, device.path).port_on(port)
        assert f"relay on {sent}\r".encode() in device.received


def test_what_another_program_left_half_typed() -> None:
    with Module(8) as device:
        device.typed = "gpio se"
        driver(8, device.path).port_on(8)
        assert device.outlets["8"] == "on"


def test_a_relay_that_does_not_follow() -> None:
    with Module(2) as device:
        device.stuck = True
        with pytest.raises(TransientError, match=f"^{device.path}: relay 2 is off after being switched on$"):
            driver(2, device.path).port_on(2)


@pytest.mark.parametrize("mood", [Mood.DEAF, Mood.GARBLED, Mood.BUSY])
def test_trouble(mood: Mood) -> None:
    with Module(2, mood) as device:
        for act in (Numato.port_on, Numato.port_off, Numato.port_status):
            with pytest.raises(TransientError, match=device.path) as caught:
                act(driver(2, device.path, 0.3 if mood is Mood.DEAF else 30), 1)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)
        assert device.outlets == {"1": "off", "2": "off"}


def test_not_there() -> None:
    with pytest.raises(TransientError, match=r"^cannot open /dev/no-such-line: No such file or directory$"):
        driver(1, "/dev/no-such-line").port_on(1)


@pytest.mark.parametrize("relays", [4, 64])
def test_an_answer_of_another_kind(relays: int) -> None:
    told: list[Any] = [(b"\r", b"\n\r>")]
    asked = b"relay read 0\r" if relays == 4 else b"relay read 00\r"
    with (
        Scripted([*told, (asked, asked + b"\n1\n\r>")]) as device,
        pytest.raises(TransientError, match="answered '1' to 'relay read 0"),
    ):
        driver(relays, f"socket://127.0.0.1:{device.port}").port_status(1)


def test_through_ser2net(tmp_path: Path) -> None:
    with Module(16) as device, ser2net(tmp_path, device.path) as (rfc2217, _):
        module = driver(16, f"rfc2217://127.0.0.1:{rfc2217}?ign_set_control", 15)
        module.port_on(11)
        assert device.outlets["11"] == "on"


@pytest.mark.parametrize("echoes", [True, False])
def test_a_module_on_ethernet_with_echo_and_without(echoes: bool) -> None:
    with numatoeth.Module(16, echoes=echoes) as device:
        settings = {"driver": "numato_eth-16", "ip": "127.0.0.1", "port": device.port, "password": numatoeth.PASSWORD}
        module = begun(NumatoEthernet("hall", settings))
        module.port_on(16)
        assert [port for port, state in device.outlets.items() if state == "on"] == ["16"]
        assert {each.port: each.state for each in module.read_outlets()} == device.outlets
        device.stuck = True
        with pytest.raises(
            TransientError, match=rf"^127.0.0.1:{device.port}: relay 16 is on after being switched off$"
        ):
            module.port_off(16)
