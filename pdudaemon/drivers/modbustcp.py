# SPDX-License-Identifier: MIT
"""Relay boards with Modbus/TCP and one coil for each outlet.

A port is the address of its coil as it stands on the wire, from 0: what a manual calls coil 1 is
mostly address 0.

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

from pdudaemon.drivers.coils import AnyBoard, Coils, nonsense
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.settings import Setting, integer
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.tcp import Connection


class OverTCP(Coils, NetworkDevice):
    """A connection for each exchange, whose number the answer repeats."""

    numbered = True
    port = tcp_port(502)

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._transactions = itertools.count(1)

    def exchange(self, unit: int, request: bytes, step: str, deadline: Deadline) -> tuple[str, bytes]:
        transaction = next(self._transactions) & 0xFFFF
        with Connection(self.host, self.port, deadline) as connection:
            connection.send(
                struct.pack(">HHHB", transaction, 0, len(request) + 1, unit) + request,
                step,
            )
            head = connection.receive_exactly(7, step)
            to, protocol, length, of = struct.unpack(">HHHB", head)
            if (to, protocol, of) != (transaction, 0, unit) or not 3 <= length <= 254:
                raise nonsense(connection.peer, head, step)
            return connection.peer, connection.receive_answer(length - 1, step)


class ModbusTCP(AnyBoard, OverTCP):
    """Any board: its owner says how many coils it has, or nobody does."""

    models = {"modbustcp": None}
    slave = Setting(integer(0, 255), 1, "older name of `unit`, which is preferred")

    def unit_id(self) -> int:
        return self.unit if "unit" in self.settings else self.slave
