# SPDX-License-Identifier: MIT
"""Numato Lab relay modules: by USB, which are serial lines with a prompt, and by Ethernet or WiFi, which is telnet.

Source: Numato's manuals and Python package; tests of the existing PDUDaemon for the relays' ids.
Tested: by USB, against a fake on a real pty, through ser2net, and as a USB device of the kernel (`make test-usb`); by
Ethernet, against a fake only.
Quirks: ``relay on`` and ``relay off`` are echoed and not acknowledged, so the relay is read back. The line's speed does
not matter. Modules with fewer than 8 relays do not all tell them together, so theirs are read one by one. The driver's
first CR ends what another program may have left half typed. By Ethernet there is one session at a time, and whether a
command is echoed there is not known, so it may be.

    "bench": {"driver": "NumatoUSB8", "device": "/dev/serial/by-id/usb-Numato_Lab_8_Channel-if00"},
    "far": {"driver": "NumatoUSB16", "device": "rfc2217://192.0.2.20:4001"},
    "hall": {"driver": "numato_eth-16", "ip": "192.0.2.118", "password": "secret"}
"""

from __future__ import annotations

import contextlib
import re
import string
from collections.abc import Callable, Iterator

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.network import NetworkDevice, login, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import serialport, telnet
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.dialogue import Login
from pdudaemon.transports.greeting import AT_LINE, GREETINGS
from pdudaemon.transports.serialport import SerialPort
from pdudaemon.transports.tcp import in_words

_DIGITS = string.digits + "abcdef"
_LEAST_TOLD_TOGETHER = 8  # relays: smaller modules do not all know readall
_LETTERS = string.digits + string.ascii_uppercase

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
        "NumatoUSB1": tuple(_DIGITS[:1]),
        "NumatoUSB2": tuple(_DIGITS[:2]),
        "NumatoUSB4": tuple(_DIGITS[:4]),
        "NumatoUSB8": tuple(_DIGITS[:8]),
        "NumatoUSB16": tuple(_DIGITS),
        "NumatoUSB32": tuple(_LETTERS[:32]),
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


class NumatoEthernet(NetworkDevice, Module):
    """A module by Ethernet or WiFi."""

    models = {
        "numato_eth-8": tuple(_DIGITS[:8]),
        "numato_eth-16": tuple(_DIGITS),
        "numato_eth-32": tuple(_LETTERS[:32]),
    }

    port = tcp_port(23, "telnet")
    username, password = login("admin", "admin", "telnet")

    @property
    def peer(self) -> str:
        return in_words(self.host, self.port)

    @contextlib.contextmanager
    def session(self) -> Iterator[Ask]:
        prompt = rf"{AT_LINE}>"
        login = Login(name=r"User Name:", password=r"Password:", ready=prompt, strangers=GREETINGS)
        with (
            telnet.session(self.host, self.port, self.deadline) as console,
            console.logged_in(login, self.username, self.password, lambda: None),  # who goes has left
        ):

            def ask(command: str) -> str:
                console.line(command, repr(command))
                return console.expect(repr(command), {"prompt": prompt}).before.strip().removeprefix(command).strip()

            yield ask
