# SPDX-License-Identifier: MIT
"""Relay boards with Modbus RTU and one coil for each outlet, by RS-485, RS-232 or USB.

A port is the address of its coil as it stands on the wire, from 0. Several boards may be on one line: each is a PDU of
its own, with its ``unit``, and they take turns.

Source: Modbus over serial line 1.02.
Tested: against a fake on a real pty; from documentation, untried on a board.
Quirks: a converter that passes on bytes from TCP is a line as well: ``"device": "socket://192.0.2.61:4196"``.

    "rail": {"driver": "modbusrtu", "device": "/dev/ttyUSB1", "unit": 5, "coils": 16, "baudrate": 19200}
"""

from __future__ import annotations

from pdudaemon.drivers.coils import EXCEPTION, READ_COILS, AnyBoard, Coils, nonsense
from pdudaemon.drivers.driver import hook
from pdudaemon.settings import Setting, integer, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort


class OverLine(Coils):
    """Unit, request or answer, and a check of both, which is how its end is known to be right."""

    device = Setting(
        text,
        "/dev/ttyUSB0",
        "serial line: a path, or a URL of pyserial (`socket://host:port`)",
    )
    baudrate = Setting(integer(1200, 1000000), 9600, "speed of the line")

    @hook
    def pool(self) -> tuple[str, int] | None:
        return f"the line {self.device}", 1

    def exchange(self, unit: int, request: bytes, step: str, deadline: Deadline) -> tuple[str, bytes]:
        with SerialPort(self.device, deadline, baudrate=self.baudrate) as line:
            line.send(_checked(bytes([unit]) + request), step)
            said = line.receive_exactly(3, step)
            function = said[1]
            rest = 0 if function & EXCEPTION else said[2] if function == READ_COILS else 3
            said += line.receive_exactly(rest + 2, step)
            if said != _checked(said[:-2]) or said[0] != unit:
                raise nonsense(line.peer, said, step)
            return line.peer, said[1:-2]


def _checked(frame: bytes) -> bytes:
    """Return a frame with its CRC-16 behind it."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return frame + crc.to_bytes(2, "little")


class ModbusRTU(AnyBoard, OverLine):
    """Any board: its owner says how many coils it has, or nobody does."""

    models = {"modbusrtu": None}
