# SPDX-License-Identifier: MIT
"""Cleware USB-Switch 4 and USB-Switch 8, and their like (USB-Switch 1 to 4, USB-Contact).

Source: Cleware's USBaccess library; another tool for Linux (F. Balbi) for the number of tries.
Tested: against a fake of hidapi; with Debian's hidapi, against a fake device on the kernel's USB (`make test-usb`).
Quirks: ``serial`` is decimal, as printed on the device. Newer devices all have the USB serial number 0x63813 and the
true one in their memory; 407571 (0x63813) is taken as well while only one such device is attached. The state streams in
and lags behind, so a state is believed when it is what was asked for, or has stayed the same for some reports. The
device may miss an order, which is then given again. The Switch 4 says which of its switches there are. Old firmware of
it has the state elsewhere, or inverted. The Switch 8 is first asked in plain bytes, then in 7-bit ones.

    "switch": {"driver": "ClewareUsbSwitch4", "serial": 407123}
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer
from pdudaemon.transports import hid
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.hid import HIDDevice, identified, pick

T = TypeVar("T")

_SET_SWITCH, _READ_MEMORY, _SET_CONTACTS, _SYNC = 0, 2, 3, 6
_FIRST_SWITCH = 0x10
_SWITCHES, _CONTACTS = 4, 8
_SHARED_SERIAL = 0x63813
_SERIAL_IN_MEMORY = range(8, 15)  # one hex digit at each address
_REPORT = 6
_VALID = 0x80
_ALL = 0xFFFF

_ORDERS = 3  # how often an order is given at the most
_STEADY = 5  # so many reports with the same state are believed
_STATE_SECONDS = 1.0
_ANSWER_SECONDS = 0.25
_SYNCS = 4


class Cleware(PDUDriver):
    """What both have in common: how the device is found, and the order that is repeated until it is followed."""

    serial = Setting(integer(1, 0xFFFFFFFF), 0, "serial number, in decimal", required=True)

    _last = ""  # where our device was

    @classmethod
    def accepts(cls, drivername: str) -> bool:
        return drivername.lower() in (name.lower() for name in cls.models)

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for serial, device in identified(hid.find(cls.usb_ids, deadline), _serial):
            yield Attached({"driver": next(iter(cls.models)), "serial": int(serial)}, device.product)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._device() as device:
            for _ in range(_ORDERS):
                self.order(device, port_number, wanted)
                if (state := self.state(device, port_number, wanted)) is wanted:
                    return
            raise TransientError(f"{device.peer}: port {port_number} is {state} after being switched {command}")

    def port_status(self, port_number: int) -> State:
        with self._device() as device:
            return self.state(device, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._device() as device:
            return stated(self.states(device))

    def identify(self) -> Identity:
        device = self._device()
        return Identity("Cleware", device.product, _serial(device) or "", str(device.release))

    def order(self, device: HIDDevice, port: int, wanted: State) -> None:
        """Tell the device to switch a port; it does not say whether it did."""
        raise NotImplementedError

    def state(self, device: HIDDevice, port: int, wanted: State | None = None) -> State:
        """Read a port, giving it time to become what is wanted."""
        raise NotImplementedError

    def states(self, device: HIDDevice) -> dict[int, State]:
        """Read all ports that there are."""
        raise NotImplementedError

    def _device(self) -> HIDDevice:
        devices = hid.find(self.usb_ids, self.deadline)
        sharing = [device for device in devices if _usb_serial(device) == self.serial == _SHARED_SERIAL]
        if len(sharing) == 1:
            return sharing[0]
        if sharing:
            return pick(sharing, _serial, "", "Cleware device, by its true serial number")
        device = pick(devices, _serial, str(self.serial), "Cleware device", self._last)
        self._last = device.peer
        return device


class ClewareSwitch(Cleware):
    """Up to four switches, each with a bit of its own in the state, at every second place."""

    models = {"ClewareUsbSwitch4": None}
    ports = Numbered(_SWITCHES, at_most=True)
    usb_ids = ("0d50:0008",)

    def order(self, device: HIDDevice, port: int, wanted: State) -> None:
        bit = (wanted is State.ON) != (device.release < 4)
        device.write(bytes([0, _SET_SWITCH, _FIRST_SWITCH + port - 1, bit]), f"switching port {port}")

    def state(self, device: HIDDevice, port: int, wanted: State | None = None) -> State:
        step = f"reading port {port}"
        last = State.UNKNOWN
        if wanted is None:
            return self._steady(device, step, lambda bits: self._state(device, bits, port))
        for bits in self._bits(device, step):
            if (last := self._state(device, bits, port)) is wanted:
                return last
        if last is State.UNKNOWN:
            raise device.silent(step)
        return last

    def states(self, device: HIDDevice) -> dict[int, State]:
        def told(bits: int) -> dict[int, State]:
            there = [1, *(port for port in range(2, _SWITCHES + 1) if bits >> 2 * (port - 1) - 1 & 1)]
            return {port: self._state(device, bits, port) for port in there}

        return self._steady(device, "reading the ports", told)

    @staticmethod
    def _state(device: HIDDevice, bits: int, port: int) -> State:
        return State.ON if bool(bits >> 2 * (port - 1) & 1) != (device.release < 4) else State.OFF

    def _steady(self, device: HIDDevice, step: str, told: Callable[[int], T]) -> T:
        """Return what some reports, one after the other, have ``told`` alike."""
        last, same = None, 0
        for bits in self._bits(device, step):
            found = told(bits)
            same = same + 1 if found == last else 1
            last = found
            if same == _STEADY:
                return found
        raise device.silent(step)

    @staticmethod
    def _bits(device: HIDDevice, step: str) -> Iterator[int]:
        """Yield what the valid reports have: two bits for each port."""
        for report in device.reports(_REPORT, step, _STATE_SECONDS):
            if len(report) >= _REPORT and report[0] & _VALID:
                yield report[0] & ~_VALID if device.release >= 10 else report[2]


class ClewareContact(Cleware):
    """Eight contacts, of which all states are told with the number of the question, so that none can be stale."""

    models = {"ClewareUsbSwitch8": None}
    ports = Numbered(_CONTACTS)
    usb_ids = ("0d50:0030",)

    def __init__(self, hostname: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(hostname, settings)
        self._seven_bit = False
        self._question = random.randrange(1, 128)  # an answer to the last program may still be there

    def order(self, device: HIDDevice, port: int, wanted: State) -> None:
        mask = 1 << (port - 1)
        frame = _frame(_SET_CONTACTS, mask if wanted is State.ON else 0, mask, self._seven_bit)
        device.write(frame, f"switching port {port}")

    def state(self, device: HIDDevice, port: int, wanted: State | None = None) -> State:
        return self._states(device, f"reading port {port}")[port]

    def states(self, device: HIDDevice) -> dict[int, State]:
        return self._states(device, "reading the ports")

    def _states(self, device: HIDDevice, step: str) -> dict[int, State]:
        for seven_bit in (self._seven_bit, not self._seven_bit):
            for _ in range(_SYNCS):
                self._question = self._question % 127 + 1
                device.write(_frame(_SYNC, self._question << 8, _ALL, seven_bit), step)
                for report in device.reports(_REPORT, step, _ANSWER_SECONDS):
                    if len(report) >= _REPORT and report[0] & _VALID and report[1] == self._question:
                        self._seven_bit = seven_bit
                        return by_bit(int.from_bytes(report[4:6]), _CONTACTS, inverted=device.release <= 6)
        raise device.silent(step)


def _frame(action: int, data: int, mask: int, seven_bit: bool) -> bytes:
    """Return a report; where bytes must not have their highest bit, the first byte has these of the other four."""
    content = data.to_bytes(2, "big") + mask.to_bytes(2, "big")
    if not seven_bit:
        return bytes([0, action]) + content
    high = sum((byte >> 7) << 3 - place for place, byte in enumerate(content))
    return bytes([0, action << 4 | high, *(byte & 0x7F for byte in content)])


def _usb_serial(device: HIDDevice) -> int | None:
    try:
        return int(device.serial, 16)
    except ValueError:
        return None


def _serial(device: HIDDevice) -> str | None:
    """Return the serial number of a device, in decimal; None if it says none."""
    if device.identify() is None or (serial := _usb_serial(device)) is None:
        return None
    if serial != _SHARED_SERIAL:
        return str(serial)
    with device:
        digits = "".join(chr(_memory(device, address)) for address in _SERIAL_IN_MEMORY)
    try:
        return str(int(digits, 16))
    except ValueError:
        raise TransientError(f"{device.peer}: the serial number in its memory is {digits!r}") from None


def _memory(device: HIDDevice, address: int) -> int:
    step = "reading the serial number"
    device.write(bytes([0, _READ_MEMORY, address]), step)
    for report in device.reports(_REPORT, step, _STATE_SECONDS):
        if len(report) >= _REPORT and report[4] == address:
            return report[5]
    raise device.silent(step)
