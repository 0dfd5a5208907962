# SPDX-License-Identifier: MIT
"""Yepkit YKUSH, YKUSH XS and YKUSH 3, USB hubs whose ports can be switched.

Source: Yepkit's own tool ykushcmd.
Tested: against a fake of hidapi; with Debian's hidapi, against a fake device on the kernel's USB (`make test-usb`).
Quirks: the first board found is taken if no serial number is given. Port 4 of the YKUSH 3 is its 5 V output. Boards of
the first series (04d8:0042) speak otherwise and are not driven. The kernel makes no hidraw node of a YKUSH, so hidapi
must be one that uses libusb, as Debian's is. A reply that an earlier program left unread is dropped.

    "hub1": {"driver": "YKUSH", "serial": "YK20345"},
    "hub2": {"driver": "YKUSHXS"}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import hid
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.hid import HIDDevice, identified, pick

_OFF, _ON, _READ = 0x00, 0x10, 0x20  # and the port added: commands; the first two are also the states of a port
_DONE = 0x01
_REPORT = 64
_REPLY_SECONDS = 0.5
_LEFT_OVER_SECONDS = 0.02


class Board(NamedTuple):
    """A model: its USB id, and its ports, counted from 1."""

    usb_id: str
    ports: int


class YKUSH(PDUDriver):
    """Gives an order, whose reply repeats it, and reads the port back."""

    models = {"YKUSH": Board("04d8:f2f7", 3), "YKUSHXS": Board("04d8:f0cd", 1), "YKUSH3": Board("04d8:f11b", 4)}
    ports = Numbered(lambda row: row.ports)
    usb_ids = tuple(board.usb_id for board in models.values())

    serial = Setting(text, "", "serial number of the board, if there are several")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for name, board in cls.models.items():
            for serial, device in identified(hid.find([board.usb_id], deadline), HIDDevice.identify):
                yield Attached({"driver": name, "serial": serial}, device.product)

    def port_interaction(self, command: str, port_number: int) -> None:
        order = _ON if command == "on" else _OFF
        with self._board() as board:
            self._ask(board, order + port_number, (order + port_number,))
            if (state := self._state(board, port_number)) != command:
                raise TransientError(f"{board.peer}: port {port_number} is {state} after being switched {command}")

    def port_status(self, port_number: int) -> State:
        with self._board() as board:
            return self._state(board, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._board() as board:
            return stated({port: self._state(board, port) for port in range(1, self.row.ports + 1)})

    def identify(self) -> Identity:
        board = self._board()
        return Identity("Yepkit", board.product, board.identify() or "")

    def _board(self) -> HIDDevice:
        boards = hid.find([self.row.usb_id], self.deadline)
        if boards and not self.serial:
            return boards[0]
        return pick(boards, HIDDevice.identify, self.serial, self.settings["driver"])

    def _state(self, board: HIDDevice, port: int) -> State:
        said = self._ask(board, _READ + port, (_ON + port, _OFF + port))
        return State.ON if said == _ON + port else State.OFF

    @staticmethod
    def _ask(board: HIDDevice, command: int, answers: tuple[int, ...]) -> int:
        step = f"command 0x{command:02x}"
        board.forget(_REPORT, "the left over", _LEFT_OVER_SECONDS)
        board.write(bytes([command, command]), step)
        reply = board.read(_REPORT, step, _REPLY_SECONDS)
        if len(reply) < 2 or reply[0] != _DONE or reply[1] not in answers:
            raise TransientError(f"{board.peer} answered {reply[:2].hex(' ')} to {step}")
        return reply[1]
