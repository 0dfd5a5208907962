# SPDX-License-Identifier: MIT
"""USB relay boards USBRelay1 to USBRelay8 with V-USB firmware, as DCTTECH and others make them.

Source: the programs usbrelay and labgrid, by what is documented of their protocol.
Tested: against a fake of the package pyusb; with Debian's, against a fake device on the kernel's USB (`make test-usb`).
Quirks: the USB id belongs to hobbyists at large, so the product must be called USBRelay. ``serial`` is the board's own
number of five characters, not the USB serial number; it is not needed with one board. The state of the relays is read
back. The kernel's driver stays where it is.

    "relays": {"driver": "vusbhid", "serial": "BITFT", "invert": true}
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, text
from pdudaemon.transports import usb
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.usb import USBDevice, identified, pick

_ACTIVE, _IDLE = 0xFF, 0xFD
_REPORT, _SERIAL, _RELAYS = 8, 5, 7  # size; where the serial number ends; where the relays are, the first in bit 0
_MOST_RELAYS = 8
_PRODUCT = re.compile(r"USBRelay([1-8])")


class VUSBHID(PDUDriver):
    """Sets a relay and reads it back."""

    models = {"vusbhid": None}
    ports = Numbered(_MOST_RELAYS, at_most=True)
    usb_ids = ("16c0:05df",)

    serial = Setting(text, "", "the board's own number, of five characters, if there are several boards")
    invert = Setting(boolean, False, "the load is on while the relay is idle (normally closed contact)")

    _last = ""  # where our board was

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for serial, device in identified(usb.find(cls.usb_ids, deadline), _serial):
            with device:
                yield Attached({"driver": "vusbhid", "serial": serial}, device.product)

    def port_interaction(self, command: str, port_number: int) -> None:
        active = (command == "on") != self.invert
        with self._board(port_number) as board:
            board.set_report(0, bytes([_ACTIVE if active else _IDLE, port_number]), f"switching relay {port_number}")
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: int) -> State:
        with self._board(port_number) as board:
            return self._states(board)[port_number]

    def read_outlets(self) -> list[OutletReading]:
        with self._board() as board:
            return stated(self._states(board))

    def identify(self) -> Identity:
        with self._board() as board:
            return Identity(model=board.product, serial=_number(board))

    def _states(self, board: USBDevice) -> dict[int, State]:
        active = board.get_report(0, _REPORT, "reading the relays")[_RELAYS]
        return by_bit(active, _relays(board), inverted=self.invert)

    @contextlib.contextmanager
    def _board(self, port: int = 1) -> Iterator[USBDevice]:
        board = pick(usb.find(self.usb_ids, self.deadline), _serial, self.serial, "relay board", self._last)
        self._last = board.peer
        with board:
            if port > (relays := _relays(board)):
                raise PermanentError(f"{board.peer} has {relays} relays, not relay {port}")
            yield board


def _relays(device: USBDevice) -> int:
    found = _PRODUCT.match(device.product)
    return int(found[1]) if found else 0


def _serial(device: USBDevice) -> str | None:
    with device:
        if not _relays(device):
            return None
        return _number(device)


def _number(device: USBDevice) -> str:
    return device.get_report(0, _REPORT, "reading the serial number")[:_SERIAL].decode("latin-1").rstrip("\0")
