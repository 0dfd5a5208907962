# SPDX-License-Identifier: MIT
"""EnerGenie and Gembird power strips on USB: EG-PMS, EG-PM2, SIS-PM.

Source: sispmctl and pysispm, by what is documented of their protocol.
Tested: against a fake of the package pyusb; with Debian's, against a fake device on the kernel's USB (`make test-usb`).
Quirks: ``device`` is the strip's id as ``pdudaemon --list-devices`` prints it, not the printed serial number; it is not
needed with one strip. Strips with a single outlet have port 1. Transfers are lost now and then and are tried again.
The kernel's driver is detached, and stays so.

    "strip": {"driver": "EG-PMS", "device": "01:01:51:a4:c3"}
"""

from __future__ import annotations

from collections.abc import Iterator

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import usb
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.usb import USBDevice, identified, pick

_ID = 1  # the report with the strip's id; that of outlet N is three times N
_REPORT = 5
_ON, _OFF = 0x03, 0x00

_FOUR = (1, 2, 3, 4)
_OUTLETS = {  # what the strip calls its outlets, in order
    "04b4:fd10": (0,),
    "04b4:fd11": _FOUR,
    "04b4:fd12": (1,),
    "04b4:fd13": _FOUR,
    "04b4:fd15": _FOUR,
}


class EnerGenieUSB(PDUDriver):
    """Sets an outlet and reads it back. What differs is told by the USB id, not by the driver's name."""

    models = {"EG-PMS": None, "EG-PM2": None}
    ports = Numbered(len(_FOUR), at_most=True)
    usb_ids = tuple(_OUTLETS)

    device = Setting(text, "", "id of the strip, if there are several: five bytes, in hex digits, with colons")

    _last = ""  # where our strip was

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for name, strip in identified(usb.find(cls.usb_ids, deadline, claim=True), _name):
            with strip:
                yield Attached({"driver": "EG-PMS", "device": name}, strip.product)

    def port_interaction(self, command: str, port_number: int) -> None:
        with self._strip() as strip:
            report = 3 * self._outlet(strip, port_number)
            order = bytes([report, _ON if command == "on" else _OFF, 0, 0, 0])
            strip.set_report(report, order, f"switching outlet {port_number}")
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: int) -> State:
        with self._strip() as strip:
            return self._state(strip, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._strip() as strip:
            return stated({port: self._state(strip, port) for port in range(1, len(_OUTLETS[strip.id]) + 1)})

    def identify(self) -> Identity:
        with self._strip() as strip:
            return Identity(model=strip.product, serial=_id(strip))

    def _state(self, strip: USBDevice, port: int) -> State:
        report = 3 * self._outlet(strip, port)
        return State.ON if strip.get_report(report, _REPORT, f"reading outlet {port}")[1] & 1 else State.OFF

    def _strip(self) -> USBDevice:
        strips = usb.find(self.usb_ids, self.deadline, claim=True)
        strip = pick(strips, _name, self.device.lower(), "EnerGenie strip", self._last)
        self._last = strip.peer
        return strip

    @staticmethod
    def _outlet(strip: USBDevice, port: int) -> int:
        outlets = _OUTLETS[strip.id]
        if port > len(outlets):
            raise PermanentError(f"{strip.peer} has {len(outlets)} outlet, not outlet {port}")
        return outlets[port - 1]


def _name(strip: USBDevice) -> str:
    with strip:
        return _id(strip)


def _id(strip: USBDevice) -> str:
    return strip.get_report(_ID, _REPORT, "reading its id").hex(":")
