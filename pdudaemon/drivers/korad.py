# SPDX-License-Identifier: MIT
"""Bench supplies of Korad (KA3005P and its brothers), also sold by Velleman, Tenma and RND, on USB or RS-232.

A supply is one outlet, number 1: a command switches the outputs of all channels.

Source: the maker's remote control syntax; programs of their owners.
Tested: against a fake on a real pty; from documentation, untried on a supply.
Quirks: commands have no end and answers none, so each has its known length, and there is a rest of 50 ms before each.
The state is a single byte, which any device could have sent, so volts are asked for as well. What the supply is set to
is left as it is.

    "bench": {"driver": "korad", "device": "/dev/serial/by-id/usb-Nuvoton_USB_Virtual_COM-if00"}
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from pdudaemon.drivers import converters
from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, quantity
from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

_REST = 0.05  # seconds
_SILENCE = 0.3  # seconds after which an answer of unknown length is over
_OUTPUT = 0x40
_DIGITS = 5


class Korad(PDUDriver):
    """The row of a model is its number of channels."""

    models = {"korad": 1, "korad-2": 2}
    usb_ids = ("0416:5011",)
    ports = Numbered(1)

    device = Setting(text, "/dev/ttyACM0", "serial line: a path, or a URL of pyserial (`rfc2217://host:port`)")
    baudrate = Setting(integer(1200, 115200), 9600, "speed of the line")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        return converters.lines(cls)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._line() as line:
            self._say(line, "OUT1" if wanted is State.ON else "OUT0")
            if (found := self._state(line)) is not wanted:
                why = "" if wanted is State.OFF else ", as when its protection trips"
                raise TransientError(f"{line.peer}: the output is {found} after being switched {wanted}{why}")

    def port_status(self, port_number: int) -> State:
        with self._line() as line:
            return self._state(line)

    def read_outlets(self) -> list[OutletReading]:
        with self._line() as line:
            state = self._state(line)
            told = [(self._number(line, f"VOUT{n}?"), self._number(line, f"IOUT{n}?")) for n in range(1, self.row + 1)]
        watts = sum(volts * amps for volts, amps in told)
        volts, amps = told[0] if len(told) == 1 else (None, None)
        return [OutletReading("1", None, state, watts, volts, amps)]

    def identify(self) -> Identity:
        with self._line() as line:
            self._say(line, "*IDN?")
            said = ""
            line.deadline = self.deadline.within(_SILENCE)
            with contextlib.suppress(DeviceTimeout):
                while len(said) < 100:
                    said += line.receive("'*IDN?'").decode("latin-1")
                    line.deadline = self.deadline.within(_SILENCE)
        found = re.match(r"(KORAD|VELLEMAN|TENMA|RND)?[ -]?(.*?) ?V(\d+\.\d+)", said.strip(), re.IGNORECASE)
        if found is None:
            raise TransientError(f"{self.device} does not say what it is")
        return Identity((found[1] or "").capitalize(), found[2], firmware=found[3])

    @contextlib.contextmanager
    def _line(self) -> Iterator[SerialPort]:
        with SerialPort(self.device, self.deadline, baudrate=self.baudrate) as line:
            yield line

    def _say(self, line: SerialPort, command: str) -> None:
        self.deadline.pause(_REST)
        line.send(command.encode(), repr(command))

    def _state(self, line: SerialPort) -> State:
        self._number(line, "VOUT1?")
        question = "STATUS?"
        self._say(line, question)
        return State.ON if line.receive_answer(1, repr(question))[0] & _OUTPUT else State.OFF

    def _number(self, line: SerialPort, question: str) -> float:
        self._say(line, question)
        said = line.receive_exactly(_DIGITS, repr(question)).decode("latin-1")
        found = quantity(said) if re.fullmatch(r"\d+\.\d+", said) else None
        if found is None:
            raise TransientError(f"{line.peer} answered {said!r} to {question!r}")
        return found
