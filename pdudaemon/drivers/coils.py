# SPDX-License-Identifier: MIT
"""`Coils`: what a board with one coil of Modbus for each outlet is asked and answers, whatever carries that.

Some boards read coils only from the first one on: when one coil alone is not answered, or is refused as an illegal
address, all up to it are read; where it is known how many there are, they are always read together.

Source: Modbus application protocol 1.1b3.
"""

from __future__ import annotations

import struct

from pdudaemon.drivers.driver import Numbered, PDUDriver, hook
from pdudaemon.drivers.readings import OutletReading, by_bit, stated
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer
from pdudaemon.transports.deadline import Deadline

MOST_COILS = 2000
"""How many one answer tells of."""

READ_COILS, WRITE_COIL, EXCEPTION = 0x01, 0x05, 0x80
"""The functions that are used, and what is added to one in an answer that says no."""

_VALUES = {State.ON: 0xFF00, State.OFF: 0x0000}
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


class Coils(PDUDriver):
    """Writes single coils, which the device answers by repeating the order. ``first`` is the port of address 0.

    ``numbered``: an answer tells which question it is to.
    """

    first = 0
    numbered = False

    unit = Setting(integer(0, 255), 1, "unit id (device id) of the board")

    def exchange(self, unit: int, request: bytes, step: str, deadline: Deadline) -> tuple[str, bytes]:
        """Have a request carried to a unit; return who answered, in words, and what. Defined by the subclass."""
        raise NotImplementedError

    def unit_id(self) -> int:
        """Return which unit is meant."""
        return self.unit

    def count(self) -> int:
        """Return how many coils there are; 0: nobody knows."""
        raise NotImplementedError

    def port_interaction(self, command: str, port_number: int) -> None:
        order = struct.pack(">BHH", WRITE_COIL, port_number - self.first, _VALUES[State(command)])
        self._ask(
            order,
            f"switching {self._called(port_number)}",
            len(order),
            self.deadline,
            order,
        )

    def port_status(self, port_number: int) -> State:
        coil = port_number - self.first
        if self.count() > coil:
            return self._read(0, self.count(), port_number, self.deadline)[coil + 1]
        if not 0 < coil < MOST_COILS:
            return self._read(coil, 1, port_number, self.deadline)[1]
        try:
            share = min(_PATIENCE, self.deadline.remaining() / 2)
            return self._read(coil, 1, port_number, self.deadline.within(share))[1]
        except _Illegal:
            return self._read(0, coil + 1, port_number, self.deadline)[coil + 1]
        except DeviceTimeout:
            found = self._read(0, coil + 1, port_number, self.deadline)
        before: dict[int, State] = found if self.numbered else {}
        while found != before:  # of one coil, it may be the late answer to the question before
            before, found = found, self._read(0, coil + 1, port_number, self.deadline)
        return found[coil + 1]

    def read_outlets(self) -> list[OutletReading]:
        if not self.count():
            raise PermanentError("coils is not set: the board does not say how many it has")
        coils = self._coils(0, self.count(), "reading the coils", self.deadline)
        return stated({coil - 1 + self.first: state for coil, state in coils.items()})

    def _read(self, start: int, count: int, port: int, deadline: Deadline) -> dict[int, State]:
        return self._coils(start, count, f"reading {self._called(port)}", deadline)

    def _called(self, port: int) -> str:
        return f"relay {port}" if self.first else f"coil {port}"

    def _coils(self, start: int, count: int, step: str, deadline: Deadline) -> dict[int, State]:
        """Return the states of some coils, counted from 1."""
        size = (count + 7) // 8
        question = struct.pack(">BHH", READ_COILS, start, count)
        answer = self._ask(question, step, size + 2, deadline, bytes([READ_COILS, size]))
        return by_bit(int.from_bytes(answer[2:], "little"), count)

    def _ask(self, request: bytes, step: str, size: int, deadline: Deadline, start: bytes) -> bytes:
        """Return the answer, of ``size`` bytes, that begins with ``start``."""
        peer, answer = self.exchange(self.unit_id(), request, step, deadline)
        if answer[0] == request[0] | EXCEPTION:
            words, kind = _EXCEPTIONS.get(answer[1], ("unknown", TransientError))
            raise kind(f"{peer} answered with exception {answer[1]} ({words}) at {step}")
        if len(answer) != size or not answer.startswith(start):
            raise nonsense(peer, answer, step)
        return answer


class AnyBoard(Coils):
    """A board of which its owner says how many coils it has, or nobody does."""

    ports = Numbered(65535, first=0, at_most=True)

    coils = Setting(
        integer(0, MOST_COILS),
        0,
        "how many coils the board has, so that all can be read; 0: not known",
    )

    @hook
    def reads_outlets(self) -> bool:
        return self.coils > 0

    def count(self) -> int:
        return self.coils


def nonsense(peer: str, said: bytes, step: str) -> TransientError:
    """Return the error for an answer to something else than was asked."""
    return TransientError(f"{peer} answered nonsense ({said[:20].hex(' ')}) at {step}")
