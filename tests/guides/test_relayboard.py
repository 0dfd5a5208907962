# SPDX-License-Identifier: MIT
"""The guide for a first relay board, with a board behind a pseudo terminal."""

from __future__ import annotations

from pathlib import Path

from tests.devices.lcus import Board
from tests.support.guides import Guide

LINE = "/dev/serial/by-path/platform-fd500000.pcie-usb-0:1.3:1.0-port0"


def test_the_guide(tmp_path: Path) -> None:
    states: list[dict[str, str]] = []
    with Board(2) as board, Guide("relayboard", tmp_path / "guide", {LINE: board.path}) as guide:
        guide.follow({"pduclient on pi": lambda: states.append({**board.outlets})})
        assert states == [{"1": "on", "2": "off"}] and board.outlets == states[0]
        orders = [
            bytes(board.received[place : place + 3])
            for place in range(len(board.received))
            if board.received[place] == 0xA0
        ]
        assert orders[-2:] == [b"\xa0\x01\x00", b"\xa0\x01\x01"]  # off, then on
