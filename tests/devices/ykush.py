# SPDX-License-Identifier: MIT
"""Yepkit's switchable hubs, as Yepkit's ykushcmd speaks with them: a command of one byte, a reply of 64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base import hid
from tests.devices.base.device import Case, Mood

PORTS = {"YKUSH": 3, "YKUSHXS": 1, "YKUSH3": 4}
PRODUCTS = {"YKUSH": 0xF2F7, "YKUSHXS": 0xF0CD, "YKUSH3": 0xF11B}
NAMES = [*PORTS]
MOODS = [Mood.WELL, Mood.DEAF, Mood.WRONG_PASSWORD, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]


class Board(hid.Gadget):
    """Commands: 0x1P port P on, 0x0P off, 0x2P read; 0xA instead of P means all. The state reads 0x1P or 0x0P."""

    def __init__(self, model: str, serial: str = "YK20345", mood: Mood = Mood.WELL) -> None:
        super().__init__(0x04D8, PRODUCTS[model], serial, model, 0x0002, mood)
        self.outlets = {str(port): "off" for port in range(1, PORTS[model] + 1)}
        self.stuck = False  # says yes and switches nothing
        self.replies: list[bytes] = []
        self.hesitates = 0  # so many looks for a reply are in vain

    def heard(self, report: bytes) -> None:
        kind, port = report[0] >> 4, str(report[0] & 0x0F)
        answer = report[0]
        if kind in (0, 1) and (port in self.outlets or port == "10"):
            for each in [*self.outlets] if port == "10" else [port]:
                if not self.stuck:
                    self.outlets[each] = ("off", "on")[kind]
        elif kind == 2 and port in self.outlets:
            answer = int(port) + (0x10 if self.outlets[port] == "on" else 0)
        else:
            self.replies.append(bytes([0xFF, 0xFF]).ljust(64, b"\0"))
            return
        self.replies.append(bytes([0x01, answer]).ljust(64, b"\0"))
        self.hesitates = 5 if self.mood is Mood.SLOW else 0

    def report(self) -> bytes:
        self.hesitates -= 1
        return self.replies.pop(0) if self.replies and self.hesitates < 0 else b""


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Attach a board, and one of another number beside it."""
    board = Board(name, mood=mood)
    with hid.attached(Board(name, "YK00001"), board):
        settings = {"driver": name, "serial": "YK20345"}
        bad = ["0", str(PORTS[name] + 1), "10", "a"]
        yield Case(board, "hub", settings, [*board.outlets], bad, identity=("Yepkit", name, "YK20345", ""))
