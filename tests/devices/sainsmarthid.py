# SPDX-License-Identifier: MIT
"""SainSmart's HID controllers: requests of 16 bytes with a signature and a sum, and an answer with all relays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base import hid
from tests.devices.base.device import Case, Mood

RELAYS = {"sainsmart_hid-8": 8, "sainsmart_hid-16": 16}
NAMES = [*RELAYS]
MOODS = [Mood.WELL, Mood.DEAF, Mood.WRONG_PASSWORD, Mood.SLOW, Mood.BUSY, Mood.GONE]  # garbage looks like an answer
READ_ORDER = [15, 0, 14, 1, 13, 2, 12, 3, 11, 4, 10, 5, 9, 6, 8, 7]  # of relays counted from 0, from bit 15 down


class Controller(hid.Gadget):
    """Sixteen outputs, some of them with relays."""

    def __init__(self, relays: int = 16, serial: str = "SS001", mood: Mood = Mood.WELL) -> None:
        super().__init__(0x0416, 0x5020, serial, "HIDRelay", 0x0100, mood)
        self.outlets = {str(number): "off" for number in range(1, relays + 1)}
        self.stuck = False
        self.short = False
        self.answers: list[bytes] = []
        self.hesitates = 0

    def heard(self, report: bytes) -> None:
        assert len(report) == 64 and not any(report[16:])
        packet, told = report[:14], int.from_bytes(report[14:16], "little")
        if packet[1] != 0x0E or packet[10:] != b"HIDC" or told != sum(packet):
            return
        if packet[0] == 0xC3 and not any(packet[4:10]) and not self.stuck:
            bits = int.from_bytes(packet[2:4], "little")
            self.outlets = {port: "on" if bits >> int(port) - 1 & 1 else "off" for port in self.outlets}
        elif packet[0] == 0xD2 and packet[2:10] == b"\x11" * 8:
            order = zip(range(15, -1, -1), READ_ORDER, strict=True)
            bits = sum(1 << bit for bit, relay in order if self.outlets.get(str(relay + 1)) == "on")
            answer = (b"\xd2\x0e" + bits.to_bytes(2, "little")).ljust(64, b"\0")
            self.answers.append(answer[:3] if self.short else answer)
            self.hesitates = 5 if self.mood is Mood.SLOW else 0

    def report(self) -> bytes:
        self.hesitates -= 1
        return self.answers.pop(0) if self.answers and self.hesitates < 0 else b""


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Attach a controller, and one of another number beside it."""
    controller = Controller(RELAYS[name], mood=mood)
    with hid.attached(Controller(serial="SS002"), controller):
        settings = {"driver": name, "serial": "SS001"}
        yield Case(controller, "relays", settings, [*controller.outlets], ["0", str(RELAYS[name] + 1), "-1", "a"])
