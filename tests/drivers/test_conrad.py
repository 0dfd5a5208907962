# SPDX-License-Identifier: MIT
"""Conrad cards: the conversations against driver and fake, a cascade, and cards that are out of step."""

from __future__ import annotations

import pytest

from pdudaemon.drivers import conrad
from pdudaemon.drivers.conrad import Conrad
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation, replay_on_line
from tests.devices.conrad import GET_OPTION, SET_OPTION, SET_SINGLE, Cascade, frame
from tests.support.action import begun
from tests.support.patience import with_patience

ACTS = [("on", Conrad.port_on), ("off", Conrad.port_off), ("status", Conrad.port_status)]


def sample(name: str) -> list[tuple[bytes, bytes]]:
    told = conversation(f"conrad197720_{name}")
    return [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in told]


def driver(device: str, seconds: float = 120) -> Conrad:
    return begun(Conrad("farm", {"driver": "conrad197720", "device": device}), seconds)


@pytest.mark.parametrize(("name", "act"), ACTS)
def test_the_conversations_against_the_driver(name: str, act) -> None:
    with Scripted(sample(name)) as device:
        assert act(driver(f"socket://127.0.0.1:{device.port}"), 2) in (None, State.OFF)
    assert device.played == len(sample(name))
    assert bytes(device.received) == b"".join(asked for asked, _ in sample(name))


@pytest.mark.parametrize("name", ["status", "on", "off"])
def test_the_conversations_against_the_fake(name: str) -> None:
    with Cascade(1) as device:
        replay_on_line(sample(name), device.path)
        assert device.outlets["2"] == ("on" if name == "on" else "off")


@pytest.mark.parametrize("cards", [1, 2, 3])
def test_each_relay_of_a_cascade(cards: int) -> None:
    with Cascade(cards) as device:
        for port in map(int, device.outlets):
            expected = {**device.outlets, str(port): "on"}
            driver(device.path).port_on(port)
            assert device.outlets == expected
        for port in map(int, device.outlets):
            assert driver(device.path).port_status(port) is State.ON
            device.outlets[str(port)] = "off"
            assert driver(device.path).port_status(port) is State.OFF
        driver(device.path).port_on(cards * 8 - 1)
        driver(device.path).port_off(cards * 8 - 1)
        assert {*device.outlets.values()} == {"off"}


def test_a_card_that_is_not_there() -> None:
    with Cascade(2) as device:
        why = f"^{device.path} has no card 3: the command came back at switching relay 16$"
        with pytest.raises(PermanentError, match=why):
            driver(device.path).port_on(16)
    with Cascade(0) as device, pytest.raises(PermanentError, match="has no card 1: the command came back at the init"):
        driver(device.path).port_status(0)


def test_options_are_set_where_they_are_others() -> None:
    with Cascade(2) as device:
        device.cards[1].option = 2
        driver(device.path).port_on(0)
        assert [card.option for card in device.cards] == [1, 1]
        assert frame(SET_OPTION, 2, 1) in device.received and frame(SET_OPTION, 1, 1) not in device.received
        device.received.clear()
        driver(device.path).port_off(0)
        assert frame(GET_OPTION, 2, 0) in device.received and frame(SET_OPTION, 2, 1) not in device.received


@pytest.mark.parametrize("cards", [1, 2])
@pytest.mark.parametrize("left", ["06", "06 01", "06 01 ff"])
def test_a_card_that_is_out_of_step(left: str, cards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(conrad, "_PATIENCE", 4 * seconds)
        monkeypatch.setattr(conrad, "_SILENCE", seconds)
        with Cascade(cards) as device:
            device.cards[0].waiting = bytes.fromhex(left)
            driver(device.path, 120).port_on(cards * 8 - 1)
            assert [port for port, state in device.outlets.items() if state == "on"] == [str(cards * 8 - 1)]

    with_patience(attempt, 0.1)


def test_a_card_that_missed_a_byte_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(conrad, "_PATIENCE", seconds)
        monkeypatch.setattr(conrad, "_SILENCE", seconds)
        with Cascade(1) as device:
            lost = [b"\x06"]
            heard = device.heard
            device.heard = lambda data: heard(data[1:] if data.startswith(b"\x06") and lost and lost.pop() else data)
            driver(device.path, 120).port_on(5)
            assert device.outlets["5"] == "on"
            assert device.received.count(frame(SET_SINGLE, 1, 1 << 5)) == 2

    with_patience(attempt)


def test_an_error_of_the_card() -> None:
    with Cascade(2, Mood.REFUSING) as device:
        with pytest.raises(
            PermanentError, match=f"^{device.path}: card 2 answered with an error at switching relay 9$"
        ):
            driver(device.path).port_on(9)
        assert device.outlets["9"] == "off"


def test_a_relay_that_does_not_follow() -> None:
    with Cascade(1) as device:
        device.stuck = True
        with pytest.raises(TransientError, match=f"^{device.path}: relay 7 is not on after being switched$"):
            driver(device.path).port_on(7)


@pytest.mark.parametrize("mood", [Mood.DEAF, Mood.GARBLED, Mood.BUSY])
def test_trouble(mood: Mood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conrad, "_SILENCE", 0.01)
    with Cascade(1, mood) as device:
        for act in (Conrad.port_on, Conrad.port_status):
            with pytest.raises(TransientError, match=device.path) as caught:
                act(driver(device.path, 0.3 if mood is Mood.DEAF else 5), 1)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)


def test_nonsense_in_the_middle_of_the_initialisation() -> None:
    exchanges = [(bytes.fromhex("01010000"), bytes.fromhex("FE 01 01 FE FB 01 01 FB"))]
    with Scripted(exchanges) as device, pytest.raises(TransientError, match="answered fb 01 01 fb at the init"):
        driver(f"socket://127.0.0.1:{device.port}").port_status(1)


def test_the_last_relay_of_the_longest_cascade() -> None:
    assert Conrad.canonical_port("2039", {"driver": "conrad197720"}) == "2039"
