# SPDX-License-Identifier: MIT
"""EnerGenie strips: the vector of the arithmetic, the conversation against driver and fake, sessions, passwords."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from pdudaemon.drivers import egpmslan
from pdudaemon.drivers.egpmslan import EGPMSLAN, Cipher
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation, exactly
from tests.devices.egpmslan import CODES, PASSWORD, Strip
from tests.support.action import begun
from tests.support.patience import with_patience
from tests.support.process import eventually

SAMPLE = [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in conversation("egpms")]
VECTOR = Cipher(b"1       ", bytes.fromhex("12345678"))


def driver(device: Any, seconds: float = 120, **settings: Any) -> EGPMSLAN:
    given = {"driver": "egpms", "port": device.port, "password": PASSWORD, **settings}
    return begun(EGPMSLAN("127.0.0.1", given), seconds)


def test_the_vector() -> None:
    assert VECTOR.solution() == bytes.fromhex("E429D822")
    assert bytes(map(VECTOR.encoded, [0x11, 0x22, 0x22, 0x11])) == bytes.fromhex("AEFDFDAE")
    assert bytes(map(VECTOR.encoded, [0x04, 0x04, 0x01, 0x04])) == bytes.fromhex("1B1B1E1B")
    for byte in range(256):
        for task in ("00000000", "ffffffff", "12345678", "80ff017f"):
            cipher = Cipher("pässwörd".encode()[:8], bytes.fromhex(task))
            assert cipher.decoded(cipher.encoded(byte)) == byte


def test_the_conversation_against_the_driver() -> None:
    with Scripted(SAMPLE) as device:
        driver(device, password="1").port_on(2)
        eventually(lambda: device.played == len(SAMPLE))
    assert bytes(device.received) == b"".join(asked for asked, _ in SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    with Strip(password="1") as device:
        device.outlets.update({"1": "on", "4": "on"})
        with socket.create_connection(("127.0.0.1", device.port), 30) as client:
            for asked, said in SAMPLE:
                client.sendall(asked)
                assert exactly(client, len(said)) == said
            assert client.recv(100) == b""
        assert device.outlets == {"1": "on", "2": "on", "3": "off", "4": "on"}
        assert device.ended == 1


@pytest.mark.parametrize("version", CODES)
def test_each_socket_of_each_firmware(version: str) -> None:
    with Strip(version=version) as device:
        for port in (1, 2, 3, 4):
            expected = {**device.outlets, str(port): "on"}
            driver(device).port_on(port)
            assert device.outlets == expected
            assert driver(device).port_status(port) is State.ON
        for port in (1, 2, 3, 4):
            driver(device).port_off(port)
            assert driver(device).port_status(port) is State.OFF
            device.outlets[str(port)] = "on"
            assert driver(device).port_status(port) is State.ON
        eventually(lambda: device.ended == device.sessions)


@pytest.mark.parametrize("password", ["1", "", "12345678", "123456789", "pässwörd"])
def test_passwords_are_padded_and_cut(password: str) -> None:
    with Strip(password=password) as device:
        driver(device, password=password).port_on(1)
        assert device.outlets["1"] == "on"


def test_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egpmslan, "PATIENCE", 0.2)
    with Strip() as device:
        why = f"^no answer from 127.0.0.1:{device.port} to the password: it is probably wrong$"
        for act in (EGPMSLAN.port_on, EGPMSLAN.port_status):
            with pytest.raises(PermanentError, match=why):
                act(driver(device, password="guess"), 1)
        eventually(lambda: device.ended == 2)
        assert device.outlets["1"] == "off"


def test_a_knock_too_many_is_not_called_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egpmslan, "PATIENCE", 0.2)
    monkeypatch.setattr(egpmslan, "_NEXT_KNOCK", 0.05)
    with Strip() as device:
        device.late = True
        with pytest.raises(TransientError, match=r"no answer from \S+ to the password, after \d knocks$"):
            driver(device).port_on(4)
        device.late = False
        monkeypatch.setattr(egpmslan, "_NEXT_KNOCK", 20)
        monkeypatch.setattr(egpmslan, "PATIENCE", 20)
        driver(device).port_on(4)
        assert device.outlets["4"] == "on"


def test_a_strip_that_is_always_late_is_given_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egpmslan, "PATIENCE", 0.5)
    monkeypatch.setattr(egpmslan, "_NEXT_KNOCK", 0.05)
    with Strip() as device:
        device.takes = 0.2
        made = driver(device)

        def switched() -> bool:
            with contextlib.suppress(TransientError):
                begun(made).port_on(4)
            return device.outlets["4"] == "on"

        eventually(switched, 60)


def test_silence_at_the_password_that_ends_with_the_deadline() -> None:
    def attempt(seconds: float) -> None:
        with (
            Strip(Mood.WRONG_PASSWORD) as device,
            pytest.raises(DeviceTimeout, match=rf"at the password within {seconds:g} s$"),
        ):
            driver(device, seconds).port_on(1)

    with_patience(attempt)


def test_a_session_that_is_not_over_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(egpmslan, "_NEXT_KNOCK", seconds)
        with Strip(ignores=2) as device:
            driver(device).port_on(4)
            assert device.outlets["4"] == "on" and device.sessions == 1
            assert device.received.startswith(b"\x11\x11\x11")

    with_patience(attempt, 0.05)


def test_a_session_that_lasts_for_as_long_as_the_strip_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(egpmslan, "_NEXT_KNOCK", seconds)
        with Strip(ignores=40) as device:
            driver(device, 600).port_on(4)
            assert device.outlets["4"] == "on" and device.sessions == 1

    with_patience(attempt, 0.05)


def test_another_session_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(egpmslan, "_NEXT_KNOCK", seconds / 1.4)
        with Strip(Mood.BUSY) as device:
            why = f"127.0.0.1:{device.port} at the beginning of a session within {seconds:g} s$"
            with pytest.raises(DeviceTimeout, match=why):
                driver(device, seconds).port_on(4)
            eventually(lambda: bytes(device.received) == b"\x11\x11")

    with_patience(attempt, 0.7)


def test_a_socket_that_does_not_follow() -> None:
    with Strip() as device:
        device.stuck = True
        with pytest.raises(TransientError, match=f"^127.0.0.1:{device.port}: socket 3 is not on after switching"):
            driver(device).port_on(3)


def test_states_that_are_none() -> None:
    with Strip(Mood.GARBLED) as device:
        with pytest.raises(TransientError, match=f"^127.0.0.1:{device.port} sends an unknown state: 0x77$"):
            driver(device).port_status(1)
        eventually(lambda: device.ended == 1)


@pytest.mark.parametrize("mood", [Mood.GONE, Mood.DEAF])
def test_trouble(mood: Mood) -> None:
    with Strip(mood) as device:
        for act in (EGPMSLAN.port_on, EGPMSLAN.port_off, EGPMSLAN.port_status):
            with pytest.raises(TransientError, match=f"127.0.0.1:{device.port}") as caught:
                act(driver(device, 0.3 if mood is Mood.DEAF else 30), 1)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)
            assert PASSWORD not in str(caught.value)
