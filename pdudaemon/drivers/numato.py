# SPDX-License-Identifier: MIT
"""Numato Lab USB relay modules, which are serial lines with a prompt.

Source: Numato's manuals and Python package; tests of the existing PDUDaemon for the relays' ids.
Tested: against a fake on a real pty, through ser2net, and as a USB device of the kernel (`make test-usb`).
Quirks: ``relay on`` and ``relay off`` are echoed and not acknowledged, so the relay is read back. The line's speed does
not matter. Modules with fewer than 8 relays do not all tell them together, so theirs are read one by one. The driver's
first CR ends what another program may have left half typed.

    "bench": {"driver": "NumatoUSB8", "device": "/dev/serial/by-id/usb-Numato_Lab_8_Channel-if00"},
    "far": {"driver": "NumatoUSB16", "device": "rfc2217://192.0.2.20:4001"}
"""

from __future__ import annotations

import contextlib
import re
import string
from collections.abc import Iterator

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import serialport
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

_DIGITS = string.digits + "abcdef"
_LEAST_TOLD_TOGETHER = 8  # relays: smaller modules do not all know readall
_LETTERS = string.digits + string.ascii_uppercase


class Numato(PDUDriver):
    """The row of a module is what it calls its relays, in order."""

    models = {
        "NumatoUSB1": tuple(_DIGITS[:1]),
        "NumatoUSB2": tuple(_DIGITS[:2]),
        "NumatoUSB4": tuple(_DIGITS[:4]),
        "NumatoUSB8": tuple(_DIGITS[:8]),
        "NumatoUSB16": tuple(_DIGITS),
        "NumatoUSB32": tuple(_LETTERS[:32]),
        "NumatoUSB64": tuple(f"{number:02}" for number in range(64)),
    }
    ports = Numbered(len)

    usb_ids = ("2a19:*",)

    device = Setting(text, "/dev/ttyACM0", "serial line: a path, or a URL of pyserial (`rfc2217://host:port`)")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for line in serialport.attached(cls.usb_ids):
            if "GPIO" in line.product.upper():  # modules without relays
                continue
            channels = re.search(r"(\d+) Channel", line.product, re.IGNORECASE)
            name = f"NumatoUSB{channels[1]}" if channels else ""
            known = {"driver": name} if name in cls.models else {}
            yield Attached({**known, "device": line.path}, line.product)

    def port_interaction(self, command: str, port_number: int) -> None:
        with self._line() as line:
            self._ask(line, f"relay {command} {self._id(port_number)}")
            if (state := self._read(line, port_number)) != command:
                raise TransientError(f"{line.peer}: relay {port_number} is {state} after being switched {command}")

    def port_status(self, port_number: int) -> State:
        with self._line() as line:
            return self._read(line, port_number)

    def read_outlets(self) -> list[OutletReading]:
        relays = len(self.row)
        with self._line() as line:
            if relays < _LEAST_TOLD_TOGETHER:
                return stated({port: self._read(line, port) for port in range(1, relays + 1)})
            command = "relay readall"
            answer = self._ask(line, command)
        if not re.fullmatch(rf"[0-9a-f]{{{relays // 4}}}", answer, re.IGNORECASE):
            raise _nonsense(line, answer, command)
        return stated(by_bit(int(answer, 16), relays))

    def identify(self) -> Identity:
        with self._line() as line:
            return Identity("Numato Lab", firmware=self._ask(line, "ver")[:20])

    @contextlib.contextmanager
    def _line(self) -> Iterator[SerialPort]:
        with SerialPort(self.device, self.deadline) as line:
            line.send(b"\r", "the prompt")
            line.receive_until(b">", "the prompt")
            yield line

    def _id(self, port: int) -> str:
        return str(self.row[port - 1])

    def _read(self, line: SerialPort, port: int) -> State:
        command = f"relay read {self._id(port)}"
        answer = self._ask(line, command)
        try:
            return State(answer)
        except ValueError:
            raise _nonsense(line, answer, command) from None

    @staticmethod
    def _ask(line: SerialPort, command: str) -> str:
        """Send a command and return what stands between its echo and the prompt."""
        line.send(f"{command}\r".encode(), repr(command))
        said = line.receive_until(b">", repr(command)).decode("latin-1").removesuffix(">").strip()
        if not said.startswith(command):
            raise _nonsense(line, said, command)
        return said.removeprefix(command).strip()


def _nonsense(line: SerialPort, said: str, command: str) -> TransientError:
    return TransientError(f"{line.peer} answered {said[:40]!r} to {command!r}")
