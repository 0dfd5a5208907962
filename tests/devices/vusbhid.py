# SPDX-License-Identifier: MIT
"""USBRelay boards with V-USB firmware: one feature report with the board's number and the relays, two orders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base import usb
from tests.devices.base.device import Case, Mood

NAMES = ["vusbhid"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.WRONG_PASSWORD, Mood.GARBLED, Mood.SLOW, Mood.GONE]
SERIAL = "BITFT"


class Board(usb.Gadget):
    """A board; the order FF closes a relay, FD opens it, FE and FC all of them."""

    def __init__(self, relays: int = 8, serial: str = SERIAL, mood: Mood = Mood.WELL) -> None:
        super().__init__(0x16C0, 0x05DF, f"USBRelay{relays}", mood)
        self.serial = serial
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.stuck = False  # takes orders and switches nothing

    def get_report(self, number: int) -> bytes:
        bits = sum(1 << int(port) - 1 for port, state in self.outlets.items() if state == "on")
        return self.serial.encode() + bytes([0, 0, bits])

    def set_report(self, number: int, data: bytes) -> None:
        if data[0] in (0xFF, 0xFD) and not self.stuck and str(data[1]) in self.outlets:
            self.outlets[str(data[1])] = "on" if data[0] == 0xFF else "off"
        elif data[0] in (0xFE, 0xFC):
            self.outlets = dict.fromkeys(self.outlets, "on" if data[0] == 0xFE else "off")


class Joystick(usb.Gadget):
    """Another device with the same id, as there are many. It has no name, and must not be asked anything."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(0x16C0, 0x05DF, name)

    def get_report(self, number: int) -> bytes:
        raise AssertionError("a foreign device was asked")

    set_report = get_report  # type: ignore[assignment]


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Attach a board, another one, and strangers with the same id."""
    board = Board(mood=mood)
    with usb.attached(Joystick(), Joystick("Gamepad"), Board(2, "OTHER"), board):
        settings = {"driver": name, "serial": SERIAL}
        identity = ("", "USBRelay8", SERIAL, "")
        yield Case(board, "relays", settings, [*board.outlets], ["0", "9", "a"], identity=identity)
