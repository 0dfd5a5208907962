# SPDX-License-Identifier: MIT
"""Devantech (Robot Electronics) USB relay modules USB-RLY02, 82, 04, 06, 08B, 16, 16L, USB-OPTO-RLY88 and 816.

Source: Devantech data sheets USB-RLY02, RLY08, RLY16, RLY16L; the other modules are assumed to have the same commands.
Tested: against a fake on a real pty, through ser2net, and as a USB device of the kernel (`make test-usb`).
Quirks: an order is one byte and is not acknowledged, so the relays are read back. The line's speed does not matter.

    "bench": {"driver": "devantech_USB-RLY08B", "device": "/dev/serial/by-id/usb-Devantech_Ltd._USB-RLY08-if00"}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver, counted
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import serialport
from pdudaemon.transports.deadline import Deadline, current
from pdudaemon.transports.serialport import SerialPort

_GET_VERSION, _GET_STATES = 0x5A, 0x5B
_MODULES = {8: "USB-RLY08", 9: "USB-RLY16", 10: "USB-RLY02", 15: "USB-RLY16L"}
_ALL = {State.ON: 0x64, State.OFF: 0x6E}  # followed by the order for relay 1, then 2 and so on


class DevantechUSB(PDUDriver):
    """The row of a module is its number of relays. Opening the line drops what was in it before."""

    models = {
        "devantech_USB-RLY02": 2,
        "devantech_USB-RLY82": 2,
        "devantech_USB-RLY04": 4,
        "devantech_USB-RLY06": 6,
        "devantech_USB-RLY08B": 8,
        "devantech_USB-RLY16": 8,
        "devantech_USB-RLY16L": 8,
        "devantech_USB-OPTO-RLY88": 8,
        "devantech_USB-OPTO-RLY816": 8,
    }
    ports = Numbered(lambda row: row)
    usb_ids = ("04d8:ffee",)

    device = Setting(text, "/dev/ttyACM0", "serial line: a path, or a URL of pyserial (`rfc2217://host:port`)")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for line in serialport.attached(cls.usb_ids):  # all that Devantech makes has this id
            name = f"devantech_{line.product}"
            known = {"driver": name} if name in cls.models else {}
            yield Attached({**known, "device": line.path}, line.product)

    def port_interaction(self, command: str, port_number: int) -> None:
        with SerialPort(self.device, self.deadline) as line:
            _switch(line, port_number, State(command))

    def port_status(self, port_number: int) -> State:
        with SerialPort(self.device, self.deadline) as line:
            return _state(line, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with SerialPort(self.device, self.deadline) as line:
            return stated(by_bit(_states(line), self.row))

    def identify(self) -> Identity:
        step = "asking for the version"
        with SerialPort(self.device, self.deadline) as line:
            line.send(bytes([_GET_VERSION]), step)
            module, version = line.receive_answer(2, step)
        return Identity("Devantech", _MODULES.get(module, ""), firmware=str(version))


class DevantechusbBase(PDUDriver):
    """What drivers written for the existing daemon build on: ``port_count`` relays; accepts nothing.

    Setting: ``device``, the serial line.
    """

    port_count = 0

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        self.hostname = hostname
        self.settings = settings
        self.device = str(settings.get("device") or DevantechUSB.device.default)
        super().__init__()

    def port_interaction(self, command: str, port_number: Any) -> None:
        relay = counted(port_number, self.port_count)
        with SerialPort(self.device, current()) as line:
            _switch(line, relay, State(command))

    def port_status(self, port_number: Any) -> State:
        relay = counted(port_number, self.port_count)
        with SerialPort(self.device, current()) as line:
            return _state(line, relay)


def _switch(line: SerialPort, relay: int, wanted: State) -> None:
    line.send(bytes([_ALL[wanted] + relay]), f"switching relay {relay}")
    if _state(line, relay) is not wanted:
        raise TransientError(f"{line.peer}: relay {relay} is not {wanted} after being switched")


def _state(line: SerialPort, relay: int) -> State:
    return by_bit(_states(line), relay)[relay]


def _states(line: SerialPort) -> int:
    step = "reading the relays"
    line.send(bytes([_GET_STATES]), step)
    return line.receive_answer(1, step)[0]
