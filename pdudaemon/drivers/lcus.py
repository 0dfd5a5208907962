# SPDX-License-Identifier: MIT
"""LCUS relay boards (LC Technology, NOYITO) with 1, 2, 4 or 8 relays, behind a CH340 (1a86:7523) on USB.

Source: the seller's description; programs of their owners.
Tested: against a fake on a real pty.
Quirks: an order is not acknowledged, so the relays are read back, which only boards whose firmware tells states can do.
LCUS-1 tells nothing: its relay is what it was last told to be, whether or not it has heard that.

    "bench": {"driver": "lcus-4", "device": "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pdudaemon.drivers import converters
from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver, hook
from pdudaemon.drivers.readings import OutletReading, stated
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import serialport
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

_QUERY = b"\xff"
_START = 0xA0
_PATIENCE = 3.0  # seconds for a board to tell, which one without such firmware never does
_TOLD = re.compile(rb"CH(\d)\s*:\s*(ON|OFF)\s*\r?\n")


_DEVICE = Setting(text, "/dev/ttyUSB0", "serial line: a path, or a URL of pyserial (`rfc2217://host:port`)")


def _switch(line: SerialPort, relay: int, wanted: State) -> None:
    on = int(wanted is State.ON)
    line.send(bytes([_START, relay, on, (_START + relay + on) & 0xFF]), f"switching relay {relay}")


class LCUS1(PDUDriver):
    """Four bytes are an order, and nothing is an answer."""

    models = {"lcus-1": 1}
    usb_chips = ("1a86:7523",)
    ports = Numbered(1)

    device = _DEVICE

    @hook
    def lacks(self) -> str | None:
        return serialport.missing(self.device)

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        return converters.lines(cls)

    def port_interaction(self, command: str, port_number: int) -> None:
        with SerialPort(self.device, self.deadline) as line:
            _switch(line, port_number, State(command))


class LCUS(PDUDriver):
    """As that, and a byte is the question for all states."""

    models = {"lcus-2": 2, "lcus-4": 4, "lcus-8": 8}
    usb_chips = ("1a86:7523",)
    ports = Numbered(lambda row: row)

    device = _DEVICE

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        return converters.lines(cls)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with SerialPort(self.device, self.deadline) as line:
            _switch(line, port_number, wanted)
            if (found := self._states(line)[port_number]) is not wanted:
                raise TransientError(f"{line.peer}: relay {port_number} is {found} after being switched {wanted}")

    def port_status(self, port_number: int) -> State:
        with SerialPort(self.device, self.deadline) as line:
            return self._states(line)[port_number]

    def read_outlets(self) -> list[OutletReading]:
        with SerialPort(self.device, self.deadline) as line:
            return stated(self._states(line))

    def _states(self, line: SerialPort) -> dict[int, State]:
        step = "reading the relays"
        line.send(_QUERY, step)
        whole, line.deadline = line.deadline, line.deadline.within(_PATIENCE)
        found: dict[int, State] = {}
        try:
            while len(found) < self.row:
                told = _TOLD.fullmatch(line.receive_until(b"\n", step).lstrip(b"\x00\r\n "))
                if told is None:
                    raise TransientError(f"{line.peer} does not tell the state of its relays")
                found[int(told[1])] = State(told[2].decode().lower())
        except DeviceTimeout:
            if whole is line.deadline:
                raise
            why = "does not tell the state of its relays: has it the firmware for that?"
            raise DeviceTimeout(f"{line.peer} {why}") from None
        finally:
            line.deadline = whole
        if {*found} != {*range(1, self.row + 1)}:
            raise PermanentError(f"{line.peer} has other relays than {self.row}: {', '.join(map(str, sorted(found)))}")
        return found
