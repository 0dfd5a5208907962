# SPDX-License-Identifier: MIT
"""Conrad Components 197720 and 197730: serial cards with 8 relays each, up to 255 of them in a cascade.

Relays are counted from 0: the first card has 0 to 7, the second 8 to 15, and so on.

Source: Conrad's manual of the cards, pages 31 to 33.
Tested: against a fake on a real pty.
Quirks: cards forget their addresses with their power, so each action begins with the initialisation, which hands them
out. A card that lost or got a byte too many is out of step with us: zeros, one by one, complete what it is waiting for.

    "farm": {"driver": "conrad197720", "device": "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART-if00-port0"}
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Iterator

from pdudaemon.drivers import converters
from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import OutletReading, by_bit, stated
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

_SETUP, _GET_PORT, _GET_OPTION, _SET_OPTION, _SET_SINGLE, _DEL_SINGLE = 1, 2, 4, 5, 6, 7
_ERROR = 255
_BROADCASTS_PASS = 1  # the option that the cards leave the factory with
_CARDS = 255
_RELAYS = 8  # of a card
_FRAME = 4
_PATIENCE = 1.0  # seconds for an answer, before we see whether the cards are out of step
_SILENCE = 0.25  # seconds after which no more is to be expected


class Conrad(PDUDriver):
    """Each answer to an order tells the relays of its card."""

    models = {"conrad197720": None}
    usb_chips = ("10c4:ea60",)
    ports = Numbered(_CARDS * _RELAYS - 1, first=0, at_most=True)

    device = Setting(text, "/dev/ttyUSB0", "serial line: a path, or a URL of pyserial (`rfc2217://host:port`)")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        return converters.lines(cls)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        order = _SET_SINGLE if wanted is State.ON else _DEL_SINGLE
        if self._act(order, port_number, 1 << port_number % _RELAYS, f"switching relay {port_number}") is not wanted:
            raise TransientError(f"{self.device}: relay {port_number} is not {wanted} after being switched")

    def port_status(self, port_number: int) -> State:
        return self._act(_GET_PORT, port_number, 0, f"reading relay {port_number}")

    def read_outlets(self) -> list[OutletReading]:
        states: dict[int, State] = {}
        with self._cards() as (line, cards):
            for card in range(1, cards + 1):
                relays = by_bit(self._ask(line, _GET_PORT, card, 0, f"reading card {card}"), _RELAYS)
                states |= {_RELAYS * (card - 1) + relay - 1: state for relay, state in relays.items()}
        return stated(states)

    def _act(self, command: int, relay: int, data: int, step: str) -> State:
        card, place = divmod(relay, _RELAYS)
        with self._cards() as (line, _):
            return by_bit(self._ask(line, command, card + 1, data, step), _RELAYS)[place + 1]

    @contextlib.contextmanager
    def _cards(self) -> Iterator[tuple[SerialPort, int]]:
        """Open the line and give the cards their addresses; yield it with the number of cards."""
        step = "the initialisation"
        with SerialPort(self.device, self.deadline, baudrate=19200) as line:
            self._ask(line, _SETUP, 1, 0, step)
            cards = 1
            while (frame := line.receive_exactly(_FRAME, step))[0] != _SETUP:  # which the last card passes on to us
                if frame[0] != 255 - _SETUP:
                    raise TransientError(f"{line.peer} answered {frame.hex(' ')} at {step}")
                cards += 1
            for card in range(1, cards + 1):
                if self._ask(line, _GET_OPTION, card, 0, step) != _BROADCASTS_PASS:
                    self._ask(line, _SET_OPTION, card, _BROADCASTS_PASS, step)
            yield line, cards

    def _ask(self, line: SerialPort, command: int, card: int, data: int, step: str) -> int:
        """Return the data of a card's answer. A command that fails is sent once more when the cards are in step."""
        frame = _frame(command, card, data)
        answer = b""
        errors = 0
        for deadline in (self.deadline.within(_PATIENCE), self.deadline):
            line.send(frame, step)
            line.deadline = deadline
            try:
                answer = line.receive_exactly(_FRAME, step)
            except DeviceTimeout:
                if deadline is self.deadline:
                    raise
            line.deadline = self.deadline
            if answer == frame:
                raise PermanentError(f"{line.peer} has no card {card}: the command came back at {step}")
            if _valid(answer) and answer[:2] == bytes([255 - command, card]):
                return answer[2]
            errors += _valid(answer) and answer[0] == _ERROR
            if deadline is not self.deadline:
                self._get_in_step(line)
        if errors > 1:  # a single one may be the late answer to what got the cards in step
            raise PermanentError(f"{line.peer}: card {answer[1]} answered with an error at {step}")
        raise TransientError(f"{line.peer} answered {answer.hex(' ')} at {step}")

    def _get_in_step(self, line: SerialPort) -> None:
        """Send zeros until cards answer to the command that they make of them; drop all that comes."""
        step = "getting the cards in step"
        for _ in range(_FRAME):
            heard = b""
            line.send(b"\0", step)
            with contextlib.suppress(DeviceTimeout):
                while True:
                    line.deadline = self.deadline.within(_SILENCE)
                    heard += line.receive(step)
            line.deadline = self.deadline
            if _valid(heard[-_FRAME:]):
                return


def _frame(command: int, card: int, data: int) -> bytes:
    return bytes([command, card, data, command ^ card ^ data])


def _valid(frame: bytes) -> bool:
    return len(frame) == _FRAME and functools.reduce(operator.xor, frame) == 0
