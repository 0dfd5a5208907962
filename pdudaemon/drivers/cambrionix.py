# SPDX-License-Identifier: MIT
"""Cambrionix USB hubs (PP8S, PP15S, U8S, U16S, ThunderSync), by their command line on a serial line.

Source: the maker's manual of the command line; a public library.
Tested: against a fake on a real pty.
Quirks: a port that is on has a mode: ``sync`` (data and power), ``charge`` or ``biased``; any of them counts as on. The
hub tells milliamps and watt-hours of each port, and no volts.

    "bench": {"driver": "cambrionix", "device": "/dev/serial/by-id/usb-cambrionix_PP15S-if00-port0", "mode": "sync"}
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from pdudaemon.drivers import converters
from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver
from pdudaemon.drivers.readings import Identity, OutletReading, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice, integer, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort

_PROMPT = b">>"
_LETTERS = {"sync": "s", "charge": "c", "biased": "b"}
_OFF = "O"
_ERROR = re.compile(r"\*E\S*[^\r\n]*")
_LINE = re.compile(r"\s*(\d{1,2})\s*,\s*(\d+)\s*,\s*([A-Za-z ]+?)\s*,(.*)")


class Cambrionix(PDUDriver):
    """A command is echoed, and what it is answered ends with a prompt."""

    models = {"cambrionix": None}
    usb_chips = ("0403:6015",)
    ports = Numbered(32, at_most=True)

    device = Setting(text, "/dev/ttyUSB0", "serial line: a path, or a URL of pyserial (`rfc2217://host:port`)")
    baudrate = Setting(integer(1200, 4000000), 115200, "speed of the line")
    mode = Setting(choice(*_LETTERS), "sync", "mode of a port that is on")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        return converters.lines(cls, "cambrionix")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        word = _LETTERS[self.mode] if wanted is State.ON else "off"
        with self._hub() as hub:
            self._of(hub, port_number)
            self._say(hub, f"mode {word} {port_number}")
            if (found := self._of(hub, port_number).state) is not wanted:
                raise TransientError(f"{hub.peer}: port {port_number} is {found} after being switched {wanted}")

    def port_status(self, port_number: int) -> State:
        with self._hub() as hub:
            return self._of(hub, port_number).state or State.UNKNOWN

    def read_outlets(self) -> list[OutletReading]:
        with self._hub() as hub:
            return [*self._ports_of(hub).values()]

    def identify(self) -> Identity:
        with self._hub() as hub:
            pairs = (part.partition(":") for part in self._say(hub, "id").split(","))
        said = {key.strip(): value.strip() for key, _, value in pairs}
        return Identity("Cambrionix", said.get("hw", ""), said.get("sn", ""), said.get("fw", ""))

    def _of(self, hub: SerialPort, port: int) -> OutletReading:
        found = self._ports_of(hub)
        if port not in found:
            raise PermanentError(f"{hub.peer} has no port {port}, but {len(found)}")
        return found[port]

    def _ports_of(self, hub: SerialPort) -> dict[int, OutletReading]:
        found = {}
        for line in self._say(hub, "state").splitlines():
            if told := _LINE.fullmatch(line):
                state = State.OFF if _OFF in told[3].split() else State.ON
                hours = quantity(told[4].rpartition(",")[2])
                found[int(told[1])] = OutletReading(
                    told[1].lstrip("0"), None, state, amps=int(told[2]) / 1000, watt_hours=hours
                )
        if not found:
            raise TransientError(f"{hub.peer} does not tell the state of its ports")
        return found

    @contextlib.contextmanager
    def _hub(self) -> Iterator[SerialPort]:
        with SerialPort(self.device, self.deadline, baudrate=self.baudrate) as hub:
            hub.send(b"\r\n", "the prompt")  # ends what another program may have left half typed
            hub.receive_until(_PROMPT, "the prompt")
            yield hub

    @staticmethod
    def _say(hub: SerialPort, command: str) -> str:
        """Send a command and return what stands between its echo and the prompt."""
        hub.send(f"{command}\r\n".encode(), repr(command))
        said = hub.receive_until(_PROMPT, repr(command)).decode("latin-1").removesuffix(">>")
        _, echoed, answer = said.partition(command)
        if not echoed:
            raise TransientError(f"{hub.peer} answered {said.strip()[:40]!r} to {command!r}")
        if found := _ERROR.search(answer):
            raise PermanentError(f"{hub.peer} refused {command!r}: {found[0][:60]}")
        return answer.strip()
