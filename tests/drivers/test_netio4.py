# SPDX-License-Identifier: MIT
"""KSHELL of NETIO: the conversations against driver and fake, what each code means, and a farewell of no weight."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.netio4 import Netio4
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import tcp
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation
from tests.devices.netio4 import PASSWORD, KShell
from tests.support.action import begun
from tests.support.patience import with_patience
from tests.support.process import eventually

SAMPLES = ["netio4_on_2", "netio4_status_2"]
HELLO, LOGIN, OK = (b"", b"100 HELLO E675DDA5\r\n"), b"login admin admin\r\n", b"250 OK\r\n"


def sample(name: str) -> list[tuple[bytes, bytes]]:
    return [(asked.encode(), said.encode()) for asked, said in conversation(name)]


def driver(device: Any, seconds: float = 120, password: str = PASSWORD) -> Netio4:
    return begun(Netio4("127.0.0.1", {"driver": "netio4", "telnetport": device.port, "password": password}), seconds)


@pytest.mark.parametrize(("name", "act"), [*zip(SAMPLES, (Netio4.port_on, Netio4.port_status), strict=True)])
def test_the_conversation_against_the_driver(name: str, act: Callable[[Netio4, int], State | None]) -> None:
    with Scripted(sample(name)) as device:
        assert act(driver(device, password="admin"), 2) in (None, State.ON)
    eventually(lambda: device.played == len(sample(name)))
    assert bytes(device.received) == b"".join(asked for asked, _ in sample(name))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_conversation_against_the_fake(name: str) -> None:
    with KShell() as device:
        device.password = "admin"
        device.outlets["2"] = "on" if "status" in name else "off"
        with socket.create_connection(("127.0.0.1", device.port), 30) as client:
            answers = client.makefile("rb")
            for asked, said in sample(name):
                client.sendall(asked)
                assert answers.read(len(said)) == said
            assert answers.read() == b""
        assert device.outlets["2"] == "on"


def test_a_device_that_negotiates_and_says_more() -> None:
    with KShell(greeting="\r\n100 HELLO 12345678 - KSHELL V1.4") as device:
        device.negotiation = b"\xff\xfd\x03\xff\xfb\x01"
        driver(device).port_on(3)
        assert device.outlets["3"] == "on"
        assert b"\xff\xfc\x03\xff\xfe\x01" in device.received


@pytest.mark.parametrize("more", ["KSHELL V1.2", "KSHELL V1.2\r\n\r\n2024-05-01 12:00\r\n1234 days up"])
@pytest.mark.parametrize("echo", [False, True])
def test_lines_that_are_no_answers(more: str, echo: bool) -> None:
    with KShell(greeting=f"100 HELLO E675\r\n{more}") as device:
        device.echo = echo
        driver(device).port_on(3)
        assert device.outlets["3"] == "on"
        assert driver(device).port_status(3) is State.ON
        device.mood = Mood.WRONG_PASSWORD
        with pytest.raises(PermanentError, match=f"^127.0.0.1:{device.port} refused the login: 503$"):
            driver(device).port_off(3)


def test_switching_and_reading() -> None:
    with KShell() as device:
        netio = driver(device)
        netio.port_on(4)
        assert device.outlets == {"1": "off", "2": "off", "3": "off", "4": "on"}
        assert netio.port_status(4) is State.ON
        netio.port_off(4)
        assert netio.port_status(4) is State.OFF
        for letter in "imt":
            device.odd["4"] = letter
            assert netio.port_status(4) is State.UNKNOWN
        device.odd["4"] = "7"
        with pytest.raises(TransientError, match=r"answered '7' at reading output 4$"):
            netio.port_status(4)
        eventually(lambda: device.farewells == 8)


@pytest.mark.parametrize("bye", [None, "502 UNKNOWN COMMAND", "~", "250"])
def test_a_farewell_changes_nothing(bye: str | None) -> None:
    with KShell() as device:
        device.bye = bye
        driver(device).port_on(1)
        assert device.outlets["1"] == "on"


def test_a_farewell_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "FAREWELL_SECONDS", 0.1)
    with Scripted([*sample(SAMPLES[0])[:-1], (b"quit\r\n", b""), (b"never", b"")]) as device:
        driver(device, password="admin").port_on(2)
        eventually(lambda: device.played == 4)

    def attempt(seconds: float) -> None:
        with Scripted([*sample(SAMPLES[0])[:2], (b"port 2 1\r\n", b""), (b"quit\r\n", b"")]) as device:
            why = rf"^no answer from 127.0.0.1:\d+ at switching output 2 on within {seconds:g} s$"
            with pytest.raises(DeviceTimeout, match=why):
                driver(device, seconds, "admin").port_on(2)
            eventually(lambda: device.played == 4)

    with_patience(attempt, 0.2)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("500 INVALID VALUE", PermanentError, "refused switching output 2 on: '500 INVALID VALUE'"),
        ("501 INVALID PARAMETR", PermanentError, "refused switching output 2 on: '501 INVALID PARAMETR'"),
        ("504 FORBIDDEN", PermanentError, "refused switching output 2 on: '504 FORBIDDEN'"),
        ("505 FORBIDDEN", PermanentError, "refused switching output 2 on: '505 FORBIDDEN'"),
        ("507 TOO MANY CONNECTIONS", TransientError, "answered '507 TOO MANY CONNECTIONS' at switching output 2 on"),
        ("130 CONNECTION TIMEOUT", TransientError, "answered '130 CONNECTION TIMEOUT' at switching output 2 on"),
        ("port 2 1\r\n\r\n500 INVALID VALUE", PermanentError, "refused switching output 2 on: '500 INVALID VALUE'"),
    ],
)
def test_what_is_not_ok(said: str, kind: type[Exception], words: str) -> None:
    exchanges = [HELLO, (LOGIN, OK), (b"port 2 1\r\n", f"{said}\r\n".encode()), (b"quit\r\n", b"110 BYE\r\n")]
    with Scripted(exchanges) as device:
        with pytest.raises(kind) as caught:
            driver(device, password="admin").port_on(2)
        assert str(caught.value) == f"127.0.0.1:{device.port} {words}"
        eventually(lambda: device.played == 4)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("503 INVALID LOGIN", PermanentError, "refused the login: 503"),
        ("503 INVALID LOGIN admin admin", PermanentError, "refused the login: 503"),
        ("507 TOO MANY CONNECTIONS", TransientError, "answered 507 at the login"),
        ("login admin admin\r\n503 INVALID LOGIN", PermanentError, "refused the login: 503"),
    ],
)
def test_what_is_said_at_the_login_is_not_shown(said: str, kind: type[Exception], words: str) -> None:
    with (
        Scripted([HELLO, (LOGIN, f"{said}\r\n".encode()), (b"quit\r\n", b"")]) as device,
        pytest.raises(kind, match=f"^127.0.0.1:{device.port} {words}$"),
    ):
        driver(device, password="admin").port_on(2)


@pytest.mark.parametrize("said", ["2500 OK", "OK 250", "250OK", "OK\r\nOK"])
def test_lines_without_an_answer_end_with_the_deadline(said: str) -> None:
    exchanges = [HELLO, (LOGIN, OK), (b"port 2 1\r\n", f"{said}\r\n".encode()), (b"quit\r\n", b"")]

    def attempt(seconds: float) -> None:
        with Scripted(exchanges) as device:
            why = rf"^no answer from 127.0.0.1:{device.port} at switching output 2 on within {seconds:g} s$"
            with pytest.raises(DeviceTimeout, match=why):
                driver(device, seconds, "admin").port_on(2)

    with_patience(attempt)


def test_greetings_that_are_none() -> None:
    for mood, words in (
        (Mood.BUSY, "^{} answered '507 TOO MANY CONNECTIONS' at the greeting$"),
        (Mood.GARBLED, "^connection closed by {} at the greeting$"),
    ):
        with KShell(mood) as device, pytest.raises(TransientError, match=words.format(f"127.0.0.1:{device.port}")):
            driver(device).port_on(1)
        assert b"login" not in device.received


def test_settings(tmp_path: Path) -> None:
    pdus = {
        "old": {"telnetport": "1234"},
        "large": {"number_of_outputs": "8"},
        "words": {"username": "the admin", "password": "s3cret\r\nport 1 0"},
        "empty": {"password": ""},
    }
    conf = tmp_path / "conf"
    conf.write_text(json.dumps({"pdus": {name: {"driver": "netio4", **pdu} for name, pdu in pdus.items()}}))
    assert [fault.partition(": ")[2] for fault in reader.load(str(conf)).faults] == [
        "pdus.words.username: must be one word: KSHELL knows no others",
        "pdus.words.password: must be one word: KSHELL knows no others",
        "pdus.empty.password: must be one word: KSHELL knows no others",
    ]
    netio = Netio4("192.0.2.9", {"driver": "netio4"})
    assert (netio.ip, netio.telnetport, netio.username, netio.password) == ("", 1234, "admin", "admin")
    assert Netio4.canonical_port("04", {}) == "4"
    assert Netio4.canonical_port("8", pdus["large"]) == "8"
    for port in ("0", "5", "1 0", "list"):
        with pytest.raises(ValueError, match=f"'{port}'"):
            Netio4.canonical_port(port, {})
