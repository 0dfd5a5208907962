# SPDX-License-Identifier: MIT
"""Relay boards with Modbus/TCP and one coil for each outlet, such as Waveshare's.

A port is the address of its coil as it stands on the wire, from 0: what a manual calls coil 1 is mostly address 0.

Source: Modbus application protocol 1.1b3 and Modbus messaging on TCP/IP 1.0b.
Tested: with the server of pymodbus, and against a fake.
Quirks: some boards read coils only from the first one on: when one coil alone is not answered, or is refused as an
illegal address, all up to it are read. A board does not say how many coils it has, so all are read together only if
``coils`` does.

    "relays": {"driver": "modbustcp", "ip": "192.0.2.60", "unit": 1, "coils": 8}
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Numbered, hook
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import OutletReading, by_bit, stated
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.tcp import Connection

_READ_COILS, _WRITE_COIL, _EXCEPTION = 0x01, 0x05, 0x80
_VALUES = {State.ON: 0xFF00, State.OFF: 0x0000}
_MOST_COILS = 2000  # in one answer
_PATIENCE = 2.0


class _Illegal(PermanentError):
    """The device refuses an address or a count."""


_EXCEPTIONS = {
    1: ("illegal function", PermanentError),
    2: ("illegal address", _Illegal),
    3: ("illegal value", _Illegal),
    4: ("failure of the device", TransientError),
    5: ("accepted but not done yet", TransientError),
    6: ("busy", TransientError),
    8: ("memory parity error", TransientError),
    10: ("no path through the gateway", TransientError),
    11: ("no answer from behind the gateway", TransientError),
}


class ModbusTCP(NetworkDevice):
    """Writes single coils, which the device answers by repeating the order."""

    models = {"modbustcp": None}
    ports = Numbered(65535, first=0, at_most=True)

    port = tcp_port(502)
    unit = Setting(integer(0, 255), 1, "unit id (device id) of the board")
    slave = Setting(integer(0, 255), 1, "older name of `unit`, which is preferred")
    coils = Setting(integer(0, _MOST_COILS), 0, "how many coils the board has, so that all can be read; 0: not known")

    @hook
    def reads_outlets(self) -> bool:
        return self.coils > 0

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._unit = self.unit if "unit" in settings else self.slave
        self._transactions = itertools.count(1)

    def port_interaction(self, command: str, port_number: int) -> None:
        order = struct.pack(">BHH", _WRITE_COIL, port_number, _VALUES[State(command)])
        self._ask(order, f"switching coil {port_number}", len(order), self.deadline, order)

    def port_status(self, port_number: int) -> State:
        if not 0 < port_number < _MOST_COILS:
            return self._read(port_number, port_number, self.deadline)
        try:
            share = min(_PATIENCE, self.deadline.remaining() / 2)
            return self._read(port_number, port_number, self.deadline.within(share))
        except (DeviceTimeout, _Illegal):
            return self._read(0, port_number, self.deadline)

    def read_outlets(self) -> list[OutletReading]:
        if not self.coils:
            raise PermanentError("coils is not set: the board does not say how many it has")
        coils = self._coils(0, self.coils, "reading the coils", self.deadline)
        return stated({coil - 1: state for coil, state in coils.items()})

    def _read(self, first: int, coil: int, deadline: Deadline) -> State:
        """Return the last of the coils from ``first`` on."""
        count = coil - first + 1
        return self._coils(first, count, f"reading coil {coil}", deadline)[count]

    def _coils(self, first: int, count: int, step: str, deadline: Deadline) -> dict[int, State]:
        """Return the states of some coils, counted from 1."""
        size = (count + 7) // 8
        question = struct.pack(">BHH", _READ_COILS, first, count)
        answer = self._ask(question, step, size + 2, deadline, bytes([_READ_COILS, size]))
        return by_bit(int.from_bytes(answer[2:], "little"), count)

    def _ask(self, request: bytes, step: str, size: int, deadline: Deadline, start: bytes) -> bytes:
        """Return the answer, of ``size`` bytes, that begins with ``start``."""
        transaction = next(self._transactions) & 0xFFFF
        with Connection(self.host, self.port, deadline) as connection:
            connection.send(struct.pack(">HHHB", transaction, 0, len(request) + 1, self._unit) + request, step)
            head = connection.receive_exactly(7, step)
            to, protocol, length, unit = struct.unpack(">HHHB", head)
            if (to, protocol, unit) != (transaction, 0, self._unit) or not 3 <= length <= 254:
                raise TransientError(f"{connection.peer} answered nonsense ({head.hex(' ')}) at {step}")
            answer = connection.receive_exactly(length - 1, step)
        if answer[0] == request[0] | _EXCEPTION:
            words, kind = _EXCEPTIONS.get(answer[1], ("unknown", TransientError))
            raise kind(f"{connection.peer} answered with exception {answer[1]} ({words}) at {step}")
        if len(answer) != size or not answer.startswith(start):
            raise TransientError(f"{connection.peer} answered nonsense ({answer[:20].hex(' ')}) at {step}")
        return answer
