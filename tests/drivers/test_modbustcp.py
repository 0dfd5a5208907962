# SPDX-License-Identifier: MIT
"""Modbus/TCP: the conversation against driver and fake, the server of pymodbus, exceptions, and boards with a will."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pdudaemon.drivers.modbustcp import ModbusTCP
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation, replay
from tests.devices.modbustcp import Board
from tests.peers.modbus import COILS, pymodbus
from tests.support.action import begun

SAMPLE = [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in conversation("modbustcp")]


def driver(port: int, seconds: float = 120, **settings: Any) -> ModbusTCP:
    return begun(
        ModbusTCP("127.0.0.1", {"driver": "modbustcp", "port": port, **settings}),
        seconds,
    )


def test_the_conversation_against_the_driver() -> None:
    board = driver(1)
    for exchange, act in zip(SAMPLE, (board.port_on, board.port_status), strict=True):
        with Scripted([exchange]) as device:
            board.port = device.port
            assert act(3) in (None, State.ON)
        assert bytes(device.received) == exchange[0]


def test_the_conversation_against_the_fake() -> None:
    with Board() as device:
        replay(SAMPLE, device.port)
        assert device.outlets["3"] == "on"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, Any]]:
    with pymodbus() as running:
        yield running


@pytest.mark.parametrize("coil", [0, 3, COILS - 1])
def test_pymodbus(server: tuple[int, Any], coil: int) -> None:
    port, client = server
    board = driver(port)
    board.port_on(coil)
    states = client.read_coils(0, count=COILS).bits
    assert [at for at, state in enumerate(states) if state] == [coil]
    assert board.port_status(coil) is State.ON
    client.write_coil(coil, False)
    assert board.port_status(coil) is State.OFF
    board.port_on(coil)
    board.port_off(coil)
    assert not any(client.read_coils(0, count=COILS).bits)
    with pytest.raises(
        PermanentError,
        match=rf"^127.0.0.1:{port} .* exception 2 \(illegal address\) at switching",
    ):
        board.port_on(COILS)
    with pytest.raises(PermanentError, match=r"exception 2 \(illegal address\) at reading coil"):
        board.port_status(COILS)


@pytest.mark.parametrize("settings", [{"unit": 7}, {"slave": "7"}, {"unit": "7", "slave": 1}])
def test_units_of_pymodbus(server: tuple[int, Any], settings: dict[str, Any]) -> None:
    port, client = server
    driver(port, **settings).port_on(5)
    assert driver(port, **settings).port_status(5) is State.ON
    assert driver(port).port_status(5) is State.OFF
    assert not client.read_coils(5).bits[0]
    driver(port, **settings).port_off(5)
    assert driver(port, **settings).port_status(5) is State.OFF


@pytest.mark.parametrize("reads", ["any", "from 0", "silently"])
def test_each_coil(reads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdudaemon.drivers.coils._PATIENCE", 0.05)
    with Board(10, reads=reads) as device:
        board = driver(device.port)
        for port in range(10):
            board.port_on(port)
            assert [other for other, state in device.outlets.items() if state == "on"] == [str(port)]
            assert board.port_status(port) is State.ON
            board.port_off(port)
            device.outlets.update({other: "on" for other in device.outlets if other != str(port)})
            assert board.port_status(port) is State.OFF
            device.outlets.update(dict.fromkeys(device.outlets, "off"))


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (1, PermanentError, "illegal function"),
        (2, PermanentError, "illegal address"),
        (3, PermanentError, "illegal value"),
        (4, TransientError, "failure of the device"),
        (5, TransientError, "accepted but not done yet"),
        (6, TransientError, "busy"),
        (10, TransientError, "no path through the gateway"),
        (11, TransientError, "no answer from behind the gateway"),
        (99, TransientError, "unknown"),
    ],
)
def test_exceptions(code: int, kind: type[Exception], words: str) -> None:
    with Board() as device:
        device.relays.exception = code
        for act in (ModbusTCP.port_on, ModbusTCP.port_status):
            with pytest.raises(
                kind,
                match=rf"^127.0.0.1:{device.port} answered with exception {code} \({words}\) at ",
            ):
                act(driver(device.port), 1)


@pytest.mark.parametrize(
    "said",
    [
        "00 09 00 00 00 06 01 05 00 03 ff 00",  # to another question
        "00 01 00 01 00 06 01 05 00 03 ff 00",  # another protocol
        "00 01 00 00 00 06 02 05 00 03 ff 00",  # another unit
        "00 01 00 00 00 06 01 05 00 04 ff 00",  # another coil
        "00 01 00 00 00 06 01 05 00 03 00 00",  # another value
        "00 01 00 00 00 04 01 01 01 01",  # another function
        "00 01 00 00 00 02 01 05",  # too short
        "00 01 00 00 ff ff 01 05",  # too long
    ],
)
def test_answers_of_another_kind(said: str) -> None:
    with (
        Scripted([(SAMPLE[0][0], bytes.fromhex(said))]) as device,
        pytest.raises(
            TransientError,
            match=f"^127.0.0.1:{device.port} answered nonsense .* at switching coil 3$",
        ),
    ):
        driver(device.port).port_on(3)


def test_coils_of_another_number() -> None:
    asked = bytes.fromhex("00 01 00 00 00 06 01 01 00 03 00 01")
    for said in ("00 01 00 00 00 05 01 01 02 01 00", "00 01 00 00 00 03 01 01 00"):
        with (
            Scripted([(asked, bytes.fromhex(said))]) as device,
            pytest.raises(TransientError, match="nonsense"),
        ):
            driver(device.port).port_status(3)


@pytest.mark.parametrize("mood", [Mood.GONE, Mood.DEAF, Mood.GARBLED, Mood.BUSY])
def test_trouble(mood: Mood) -> None:
    with Board(mood=mood) as device:
        for act in (ModbusTCP.port_on, ModbusTCP.port_off, ModbusTCP.port_status):
            with pytest.raises(TransientError, match=f"127.0.0.1:{device.port}") as caught:
                act(driver(device.port, 0.3 if mood is Mood.DEAF else 30), 7)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)


def test_the_last_coil() -> None:
    assert ModbusTCP.canonical_port("65535", {"driver": "modbustcp"}) == "65535"


def test_coils_are_read_together_where_it_is_said_how_many() -> None:
    with Board(coils=20) as device:
        device.outlets["9"] = device.outlets["19"] = "on"
        found = driver(device.port, coils=20).read_outlets()
        assert {each.port: each.state for each in found} == device.outlets and device.sessions == 1
        with pytest.raises(PermanentError, match="coils is not set"):
            driver(device.port).read_outlets()
