# SPDX-License-Identifier: MIT
"""Modbus RTU: the bytes of Waveshare's examples, several boards on one line, and a converter that passes on bytes."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import coils, hooks, strategies
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.scripted import Scripted
from tests.devices.modbusrtu import Bus
from tests.devices.modbustcp import Relays
from tests.support.action import begun

EXAMPLES = {"on": "01 05 00 00 ff 00 8c 3a", "off": "01 05 00 00 00 00 cd ca"}


def driver(word: str, device: str, **settings: Any) -> Any:
    return begun(strategies.find(word)("bench", {"driver": word, "device": device, **settings}))


@pytest.mark.parametrize("state", EXAMPLES)
def test_the_examples_for_switching(state: str) -> None:
    example = bytes.fromhex(EXAMPLES[state])
    with Scripted([(example, example)]) as device:
        getattr(driver("waveshare-8", f"socket://127.0.0.1:{device.port}"), f"port_{state}")(1)
    assert bytes(device.received) == example


def test_the_example_for_reading() -> None:
    asked, said = (
        bytes.fromhex("01 01 00 00 00 08 3d cc"),
        bytes.fromhex("01 01 01 00 51 88"),
    )
    with Scripted([(asked, said)]) as device:
        found = driver("waveshare-8", f"socket://127.0.0.1:{device.port}").read_outlets()
    assert [(each.port, each.state) for each in found] == [(str(port), State.OFF) for port in range(1, 9)]


def test_boards_on_one_line() -> None:
    with Bus(8, first=1) as device:
        device.boards[5] = Relays(16, device.mood)
        near, far = (
            driver("waveshare-8", device.path),
            driver("modbusrtu", device.path, unit=5),
        )
        far.port_on(15)
        near.port_on(2)
        assert device.boards[5].outlets["15"] == device.outlets["2"] == "on"
        assert [*device.outlets.values(), *device.boards[5].outlets.values()].count("on") == 2
        assert far.port_status(15) is State.ON and near.port_status(1) is State.OFF
        pools = {hooks.traits(type(each), each.settings).pool for each in (near, far)}
        assert pools == {(f"the line {device.path}", 1)}


def test_a_board_with_fewer_coils_says_so() -> None:
    with Bus(8) as device:
        board = driver("modbusrtu", device.path)
        with pytest.raises(
            PermanentError,
            match=rf"^{device.path} .* exception 2 \(illegal address\) at switching coil 8$",
        ):
            board.port_on(8)


class Late(Bus):
    """Answers each question about one coil when the next one has come."""

    def __init__(self, coils: int) -> None:
        super().__init__(coils)
        self.later = b""

    def send(self, data: bytes) -> None:
        alone = bytes(self.received[-4:-2]) == b"\0\1"
        super().send(self.later + (b"" if alone else data))
        self.later = data if alone else b""


@pytest.mark.parametrize("on", [{"3"}, {"0"}, {"0", "3"}, {"1", "3"}, set()])
def test_a_late_answer_is_not_taken_for_that_to_the_next_question(
    on: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coils, "_PATIENCE", 0.2)
    with Late(8) as device:
        device.outlets.update(dict.fromkeys(on, "on"))
        for port in ("1", "3"):
            assert driver("modbusrtu", device.path).port_status(int(port)) is State("on" if port in on else "off")


def test_an_answer_of_another_board() -> None:
    asked, said = (
        bytes.fromhex("01 01 00 00 00 08 3d cc"),
        bytes.fromhex("02 01 01 00 51 cc"),
    )
    with (
        Scripted([(asked, said)]) as device,
        pytest.raises(TransientError, match=r"answered nonsense \(02 01 01 00 51 cc\)"),
    ):
        driver("waveshare-8", f"socket://127.0.0.1:{device.port}").port_status(1)
