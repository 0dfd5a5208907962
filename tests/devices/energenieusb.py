# SPDX-License-Identifier: MIT
"""EnerGenie strips on USB, as sispmctl speaks with them: feature report 1 is the id, 3 N is outlet N."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base import usb
from tests.devices.base.device import Case, Mood

NAMES = ["EG-PMS", "EG-PM2"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.WRONG_PASSWORD, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
ID = "01:01:51:a4:c3"
FIRST_REPORTS = {0xFD10: 0, 0xFD11: 3, 0xFD12: 3, 0xFD13: 3, 0xFD15: 3}  # of outlet 1


class Strip(usb.Gadget):
    """A strip with one outlet or four; byte 1 of an outlet's report: bit 0 it is on, bit 1 there is mains."""

    def __init__(self, product: int = 0xFD11, serial: str = ID, mood: Mood = Mood.WELL) -> None:
        super().__init__(0x04B4, product, "SIS-PM", mood)
        self.recipient = 1
        self.serial = serial
        self.outlets = {str(number): "off" for number in range(1, 2 if product in (0xFD10, 0xFD12) else 5)}
        self.stuck = False  # takes orders and switches nothing

    def get_report(self, number: int) -> bytes:
        if number == 1:
            return bytes.fromhex(self.serial.replace(":", ""))
        return bytes([number, 2 + (self.outlets[self.outlet(number)] == "on"), 0, 0, 0])

    def set_report(self, number: int, data: bytes) -> None:
        if data[0] != number or data[1] not in (0x03, 0x00):
            raise usb.failure("PIPE")
        outlet = self.outlet(number)
        if not self.stuck:
            self.outlets[outlet] = "on" if data[1] else "off"

    def outlet(self, report: int) -> str:
        """Return the outlet of a report. Raises: USBError if there is none."""
        outlet = str((report - FIRST_REPORTS[self.product]) // 3 + 1)
        if report % 3 or outlet not in self.outlets:
            raise usb.failure("PIPE")
        return outlet


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Attach a strip, and another one."""
    strip = Strip(mood=mood)
    with usb.attached(Strip(0xFD13, "01:01:00:00:01"), strip):
        settings = {"driver": name, "device": ID}
        yield Case(strip, "strip", settings, [*strip.outlets], ["0", "5", "a"], identity=("", "SIS-PM", ID, ""))
