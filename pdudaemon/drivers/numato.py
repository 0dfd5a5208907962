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
from collections.abc import Callable, Iterator

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import serialport
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

DIGITS = string.digits + "abcdef"
_LEAST_TOLD_TOGETHER = 8  # relays: smaller modules do not all know readall
LETTERS = string.digits + string.ascii_uppercase

Ask = Callable[[str], str]
"""Sends a command, and returns its answer without echo and prompt."""


class Module(PDUDriver):
    """What all modules understand. The row of one is what it calls its relays, in order."""

    ports = Numbered(len)

    @property
    def peer(self) -> str:
        """Who answers, in words."""
        raise NotImplementedError

    def session(self) -> contextlib.AbstractContextManager[Ask]:
        """Come to the prompt, within ``with``."""
        raise NotImplementedError

    def port_interaction(self, command: str, port_number: int) -> None:
        with self.session() as ask:
            ask(f"relay {command} {self._id(port_number)}")
            if (state := self._read(ask, port_number)) != command:
                raise TransientError(f"{self.peer}: relay {port_number} is {state} after being switched {command}")

    def port_status(self, port_number: int) -> State:
        with self.session() as ask:
            return self._read(ask, port_number)

    def read_outlets(self) -> list[OutletReading]:
        relays = len(self.row)
        with self.session() as ask:
            if relays < _LEAST_TOLD_TOGETHER:
                return stated({port: self._read(ask, port) for port in range(1, relays + 1)})
            command = "relay readall"
            answer = ask(command)
        if not re.fullmatch(rf"[0-9a-f]{{{relays // 4}}}", answer, re.IGNORECASE):
            raise self.nonsense(answer, command)
        return stated(by_bit(int(answer, 16), relays))

    def identify(self) -> Identity:
        with self.session() as ask:
            return Identity("Numato Lab", firmware=ask("ver")[:20])

    def nonsense(self, said: str, command: str) -> TransientError:
        """Return the error for an answer that is none."""
        return TransientError(f"{self.peer} answered {said[:40]!r} to {command!r}")

    def _id(self, port: int) -> str:
        return str(self.row[port - 1])

    def _read(self, ask: Ask, port: int) -> State:
        command = f"relay read {self._id(port)}"
        answer = ask(command)
        try:
            return State(answer)
        except ValueError:
            raise self.nonsense(answer, command) from None


class Numato(Module):
    """A module by USB."""

    models = {
        "NumatoUSB1": tuple(DIGITS[:1]),
        "NumatoUSB2": tuple(DIGITS[:2]),
        "NumatoUSB4": tuple(DIGITS[:4]),
        "NumatoUSB8": tuple(DIGITS[:8]),
        "NumatoUSB16": tuple(DIGITS),
        "NumatoUSB32": tuple(LETTERS[:32]),
        "NumatoUSB64": tuple(f"{number:02}" for number in range(64)),
    }

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

    @property
    def peer(self) -> str:
        return self.device

    @contextlib.contextmanager
    def session(self) -> Iterator[Ask]:
        with SerialPort(self.device, self.deadline) as line:
            line.send(b"\r", "the prompt")
            line.receive_until(b">", "the prompt")

            def ask(command: str) -> str:
                line.send(f"{command}\r".encode(), repr(command))
                said = line.receive_until(b">", repr(command)).decode("latin-1").removesuffix(">").strip()
                if not said.startswith(command):
                    raise self.nonsense(said, command)
                return said.removeprefix(command).strip()

            yield ask
