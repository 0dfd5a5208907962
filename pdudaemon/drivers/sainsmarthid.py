# SPDX-License-Identifier: MIT
"""SainSmart USB HID controllers for relay boards of 8 and 16 channels (0416:5020).

Source: the description of the seller, and that of others for its packets.
Tested: against a fake of hidapi; from documentation, untried on a board.
Quirks: an order is for all relays at once, so they are read before it, and after it as well: it is not acknowledged.
Relays stand in another order in what is read than in what is written. The answer has nothing by which it could be told
from another's.

    "relays": {"driver": "sainsmart_hid-16"}
"""

from __future__ import annotations

from collections.abc import Iterator

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import OutletReading, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import hid
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.hid import HIDDevice, identified, pick

_USB_ID = "0416:5020"
_READ, _WRITE = 0xD2, 0xC3
_LENGTH = 14  # of a request, but for its sum
_SIGNATURE = b"HIDC"
_REPORT = 64
_REPLY_SECONDS = 0.5
_LEFT_OVER_SECONDS = 0.02
_CHANNELS = 16


class SainSmartHID(PDUDriver):
    """Two requests: for all relays, and to all relays."""

    models = {"sainsmart_hid-8": 8, "sainsmart_hid-16": _CHANNELS}
    ports = Numbered(lambda row: row)
    usb_ids = (_USB_ID,)

    serial = Setting(text, "", "serial number of the controller, if there are several")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for serial, device in identified(hid.find([_USB_ID], deadline), HIDDevice.identify):
            yield Attached({"driver": "sainsmart_hid-16", "serial": serial}, device.product)

    def port_interaction(self, command: str, port_number: int) -> None:
        with self._controller() as controller:
            states = {**self._states(controller), port_number: State(command)}
            mask = sum(1 << relay - 1 for relay, state in states.items() if state is State.ON)
            controller.write(_request(_WRITE, mask.to_bytes(2, "little") + bytes(6)), f"switching relay {port_number}")
            if (found := self._states(controller)[port_number]) != command:
                raise TransientError(
                    f"{controller.peer}: relay {port_number} is {found} after being switched {command}"
                )

    def port_status(self, port_number: int) -> State:
        with self._controller() as controller:
            return self._states(controller)[port_number]

    def read_outlets(self) -> list[OutletReading]:
        with self._controller() as controller:
            states = self._states(controller)
        return stated({relay: states[relay] for relay in range(1, self.row + 1)})

    def _controller(self) -> HIDDevice:
        found = hid.find([_USB_ID], self.deadline)
        if found and not self.serial:
            return found[0]
        return pick(found, HIDDevice.identify, self.serial, "SainSmart controller")

    def _states(self, controller: HIDDevice) -> dict[int, State]:
        """Return the states of all channels, whether or not they have relays."""
        step = "reading the relays"
        controller.forget(_REPORT, "the left over", _LEFT_OVER_SECONDS)
        controller.write(_request(_READ, b"\x11" * 8), step)
        said = controller.read(_REPORT, step, _REPLY_SECONDS)
        if len(said) < 4:
            raise TransientError(f"{controller.peer} answered {said.hex(' ')} at {step}")
        bits = int.from_bytes(said[2:4], "little")
        return {relay: State.ON if bits >> _place(relay) & 1 else State.OFF for relay in range(1, _CHANNELS + 1)}


def _place(relay: int) -> int:
    """Return the bit of a relay in what is read: 8, 9, 7, 10, 6, 11 and so on to 1, 16, from the lowest on."""
    half = _CHANNELS // 2
    return 2 * (half - relay) if relay <= half else 2 * (relay - half - 1) + 1


def _request(command: int, words: bytes) -> bytes:
    """Return a request as a report: command, length, words, a signature, the sum of all that; and its number, 0."""
    packet = bytes([command, _LENGTH]) + words + _SIGNATURE
    return b"\0" + (packet + (sum(packet) & 0xFFFF).to_bytes(2, "little")).ljust(_REPORT, b"\0")
