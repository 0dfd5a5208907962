# SPDX-License-Identifier: MIT
"""ICStation USB relay boards ICSE013A, ICSE012A and ICSE014A (2, 4 and 8 relays), behind a PL2303 (067b:2303).

Source: the seller's description; programs of their owners.
Tested: against a fake on a real pty; untried on a board.
Quirks: a board tells nothing, so a relay is what it was last told to be, and no answer shows that there is a board
after its first order. Each order is for all relays at once: what the others are is known from the daemon's own record,
which ``--drive`` has not. A relay that this daemon never told anything is taken for off. A board that was plugged in
since its last order has all relays off; with the next order each of them is again what it was last told to be. The
first order to a board after it got its power takes some two seconds. What was switched by other programs is not
known here, and a board that one of them made ready cannot be taken over: plug it in anew.

    "bench": {"driver": "icstation-4", "device": "/dev/serial/by-path/pci-0000:00:14.0-usb-0:4:1.0-port0"}
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pdudaemon.drivers import converters
from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver, hook
from pdudaemon.errors import DeviceTimeout, PermanentError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import serialport
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

_WHO, _READY = b"\x50", b"\x51"  # to a board that is ready they are orders, as any byte is
_ANSWER_SECONDS = 1.0
_REST_SECONDS = 1.0  # which a board wants between the two


class Board(NamedTuple):
    """A model: its relays, and what it says it is."""

    relays: int
    says: int


class ICStation(PDUDriver):
    """A byte is the state of all relays: the lowest bit is relay 1, and one that is not set is on."""

    models = {
        "icstation-2": Board(2, 0xAD),
        "icstation-4": Board(4, 0xAB),
        "icstation-8": Board(8, 0xAC),
    }
    usb_chips = ("067b:2303",)
    ports = Numbered(lambda row: row.relays)

    device = Setting(text, "/dev/ttyUSB0", "serial line of the board")

    @hook
    def lacks(self) -> str | None:
        return serialport.missing(self.device)

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        return converters.lines(cls)

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._on: set[int] | None = None  # as this driver has told the board
        self._when = 0.0

    def port_interaction(self, command: str, port_number: int) -> None:
        if self.last_told is None:
            raise PermanentError("an order is for all relays of the board, and what the others are only a daemon knows")
        told = {port: (state, when) for port, (state, when) in self.last_told().items() if state is not State.UNKNOWN}
        on, when = self._on, self._when
        if on is None:
            on = {int(port) for port, (state, _) in told.items() if state is State.ON}
            when = max((when for _, when in told.values()), default=0.0)
        plugged = serialport.plugged_in(self.device)
        with SerialPort(self.device, self.deadline) as line:
            if not when or (plugged is not None and plugged > when):
                self._make_ready(line, known=bool(when))
            on = on | {port_number} if command == State.ON else on - {port_number}
            off = ((1 << self.row.relays) - 1) & ~sum(1 << relay - 1 for relay in on)
            line.send(bytes([off]), f"switching relay {port_number}")
        self._on, self._when = on, time.time()

    def _make_ready(self, line: SerialPort, *, known: bool) -> None:
        """Make a board ready, which only one that has just got its power is not yet.

        Raises: DeviceTimeout if there is no answer, unless the board is ``known``, for one that has kept its power.
        """
        step = "asking the board who it is"
        whole = line.deadline
        line.send(_WHO, step)
        line.deadline = whole.within(_ANSWER_SECONDS)
        try:
            said = line.receive_answer(1, step)[0]
        except DeviceTimeout:
            if known and line.deadline is not whole:
                return
            why = "is it an ICStation board, and has nothing switched it since it was plugged in?"
            raise DeviceTimeout(f"{line.peer} does not say who it is: {why}") from None
        finally:
            line.deadline = whole
        if said != self.row.says:
            found = next((name for name, board in self.models.items() if board.says == said), "no ICStation board")
            raise PermanentError(f"{line.peer} says 0x{said:02x}, hence is {found} and not {self.settings['driver']}")
        self.deadline.pause(_REST_SECONDS)
        line.send(_READY, "making the board ready")
