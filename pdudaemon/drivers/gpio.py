# SPDX-License-Identifier: MIT
"""Relays at GPIO lines of this machine (Raspberry Pi and others), by the kernel's character device.

A port is the number of a line on its chip, from 0, as ``gpioinfo`` shows it.

Source: the kernel's header for programs.
Tested: with chips that a kernel 6.1 simulates (gpio-sim); untried on a board.
Quirks: a line is held from its first action on, as the kernel keeps the level of no line that nobody holds: what it
does when the daemon ends is up to the chip. A start leaves all lines as they are, and so does reading one that was not
switched, an input too. Linux 5.10 and later.

    "shelf": {"driver": "gpio", "chip": "/dev/gpiochip0", "active_low": true}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pdudaemon.drivers.driver import Attached, Numbered, PDUDriver, hook
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, text
from pdudaemon.transports import gpio
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.gpio import Line


class GPIO(PDUDriver):
    """On is active. The lines are kept with the driver."""

    models = {"gpio": None}
    ports = Numbered(1023, first=0, at_most=True)

    chip = Setting(text, "/dev/gpiochip0", "GPIO chip: its path, or its label, which stays where numbers change")
    active_low = Setting(boolean, False, "on is the low level, as many relay boards have it")

    @classmethod
    def attached(cls, deadline: Deadline) -> Iterator[Attached]:
        for chip in gpio.chips():
            said = f"{Path(chip.path).name}, {chip.lines} lines" if chip.lines else "no access"
            yield Attached({"chip": chip.label or chip.path}, said)

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._lines: dict[int, Line] = {}

    @hook
    def lacks(self) -> str:
        return gpio.missing(self.chip)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        line = self._line(port_number)
        line.write(wanted is State.ON)
        if (found := self._state(line)) is not wanted:
            raise TransientError(f"{line.peer} is {found} after being switched {wanted}")

    def port_status(self, port_number: int) -> State:
        return self._state(self._line(port_number))

    def _line(self, port: int) -> Line:
        if port not in self._lines:
            self._lines[port] = Line(self.chip, port, active_low=self.active_low)
        return self._lines[port]

    @staticmethod
    def _state(line: Line) -> State:
        return State.ON if line.read() else State.OFF

    def _bombout(self) -> None:
        """Let go of what has failed: a chip that was pulled out comes back as another."""
        for port, line in [*self._lines.items()]:
            try:
                line.read()
            except (TransientError, PermanentError):
                self._lines.pop(port).close()
