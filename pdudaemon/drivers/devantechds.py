# SPDX-License-Identifier: MIT
"""Devantech (Robot Electronics) Ethernet relays of the dS series, dS378 and dS2824, by their binary TCP protocol.

Source: Devantech manuals dS378 and dS2824; frames from a public monitoring agent for the dS378.
Tested: against a fake only.
Quirks: some dS2824 call themselves dS378; the name chosen here only says how many relays there are. Relays above those
of the hardware are virtual ones of the board and are refused.

    "relays": {"driver": "devantech_ds2824", "ip": "192.0.2.28"}
"""

from __future__ import annotations

import struct

from pdudaemon.drivers.driver import Numbered, PDUDriver
from pdudaemon.drivers.network import tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import Connection

_INFO, _SET, _GET = 0x30, 0x31, 0x33
_MODULES = range(30, 40)  # what the boards of this series call themselves


class DevantechDS(PDUDriver):
    """Sets a relay and reads it back. The row of a board is its number of relays."""

    models = {"devantech_ds378": 8, "devantech_ds2824": 24}
    ports = Numbered(lambda row: row)

    ip = Setting(
        text, "dS2824", "address; the default is the name that a dS2824 gives itself, that of a dS378 is `ds378`"
    )
    port = tcp_port(17123)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        step = f"switching relay {port_number}"
        with self._connection() as connection:
            no_pulse = 0
            connection.send(struct.pack(">BBBI", _SET, port_number, wanted is State.ON, no_pulse), step)
            if answer := connection.receive_answer(1, step)[0]:
                raise PermanentError(f"{connection.peer} refused {step} (0x{answer:02x})")
            if self._states(connection)[port_number] is not wanted:
                raise TransientError(f"{connection.peer}: relay {port_number} is not {wanted} after {step}")

    def port_status(self, port_number: int) -> State:
        with self._connection() as connection:
            return self._states(connection)[port_number]

    def read_outlets(self) -> list[OutletReading]:
        with self._connection() as connection:
            return stated(self._states(connection))

    def identify(self) -> Identity:
        step = "asking for the versions"
        with self._connection() as connection:
            connection.send(bytes([_INFO]), step)
            _, major, minor, *_ = connection.receive_answer(8, step)
        return Identity("Devantech", firmware=f"{major}.{minor}")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its versions, at a port that is that of these boards; it does not say how many relays."""
        if pages.port and pages.server:
            return None
        board = cls(pages.host, {"driver": "devantech_ds378", "ip": pages.host, **port_of(pages)})
        board.deadline = deadline
        with board._connection() as connection:
            connection.send(bytes([_INFO]), "asking for the versions")
            if connection.receive_answer(8, "asking for the versions")[0] not in _MODULES:
                return None
        wants = "devantech_ds2824 in place of the driver, if it has 24 relays"
        return Recognised(board.settings, board.identify(), wants=wants)

    def _connection(self) -> Connection:
        return Connection(self.ip, self.port, self.deadline)

    def _states(self, connection: Connection) -> dict[int, State]:
        """Read all relays: after a byte for the one named in the question, the first relay is the last bit."""
        step = "reading the relays"
        connection.send(bytes([_GET, 1]), step)
        return by_bit(int.from_bytes(connection.receive_answer(5, step)[1:]), self.row)
