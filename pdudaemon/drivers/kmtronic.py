# SPDX-License-Identifier: MIT
"""KMTronic relay boards with 1, 2, 4 or 8 relays, by USB or RS-232.

Source: the maker's pages on its boards.
Tested: against a fake on a real pty.
Quirks: an order is not acknowledged, so the relays are read back. Boards with 4 and 8 relays tell all at once, those
with 1 and 2 one by one.

    "bench": {"driver": "kmtronic-8", "device": "/dev/ttyUSB0"}
"""

from __future__ import annotations

from collections.abc import Iterator

from pdudaemon.drivers import converters
from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import OutletReading, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

_START = 0xFF
_ALL = bytes([_START, 0x09, 0x00])
_TOLD_TOGETHER = (4, 8)
_STATES = {0: State.OFF, 1: State.ON}


class KMTronic(PDUDriver):
    """Three bytes are an order, or a question."""

    models = {"kmtronic-1": 1, "kmtronic-2": 2, "kmtronic-4": 4, "kmtronic-8": 8}
    usb_chips = ("0403:6001",)
    ports = Numbered(lambda row: row)

    device = Setting(text, "/dev/ttyUSB0", "serial line: a path, or a URL of pyserial (`rfc2217://host:port`)")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        return converters.lines(cls)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with SerialPort(self.device, self.deadline) as line:
            line.send(bytes([_START, port_number, int(wanted is State.ON)]), f"switching relay {port_number}")
            if (found := self._state(line, port_number)) is not wanted:
                raise TransientError(f"{line.peer}: relay {port_number} is {found} after being switched {wanted}")

    def port_status(self, port_number: int) -> State:
        with SerialPort(self.device, self.deadline) as line:
            return self._state(line, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with SerialPort(self.device, self.deadline) as line:
            if self.row in _TOLD_TOGETHER:
                return stated(self._all(line))
            return stated({port: self._one(line, port) for port in range(1, self.row + 1)})

    def _state(self, line: SerialPort, port: int) -> State:
        return self._all(line)[port] if self.row in _TOLD_TOGETHER else self._one(line, port)

    def _all(self, line: SerialPort) -> dict[int, State]:
        line.send(_ALL, "reading the relays")
        said = line.receive_exactly(8, "reading the relays")[: self.row]
        if not {*said} <= _STATES.keys():
            raise TransientError(f"{line.peer} does not tell the state of its relays")
        return {port: _STATES[byte] for port, byte in enumerate(said, 1)}

    @staticmethod
    def _one(line: SerialPort, port: int) -> State:
        step = f"reading relay {port}"
        line.send(bytes([_START, port, 0x03]), step)
        start, relay, state = line.receive_exactly(3, step)
        if (start, relay) != (_START, port) or state not in _STATES:
            raise TransientError(f"{line.peer} does not tell the state of relay {port}")
        return _STATES[state]
