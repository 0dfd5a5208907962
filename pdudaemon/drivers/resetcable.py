# SPDX-License-Identifier: MIT
"""Boards whose reset hangs on the line DTR or RTS of a serial port of this machine, and relays that do.

Source: ioctl_tty(2), and the circuits that are in use.
Tested: with the kernel's driver for serial converters on its USB (`make test-usb`), with a serial port of this machine
where there is one, and against a fake of the kernel's calls; untried on a cable.
Quirks: ports are ``dtr`` and ``rts``. Off is reset: a line that is raised holds a board in it; with ``raised`` ``on`` a
line that is raised switches on. The port is opened at the first action and held from then on. When it is opened the
kernel raises both lines for a moment; so what is not held yet is unknown, as even a look would do that. The line that
was not meant then is what it was last told to be, else on. The levels stay when the daemon ends, and may not survive a
start of the machine.

    "bench": {"driver": "reset_cable", "device": "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Named, PDUDriver, hook
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import DeviceError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice, text
from pdudaemon.transports import serialport
from pdudaemon.transports.modemlines import LINES, ModemLines


class ResetCable(PDUDriver):
    """Two lines, which the kernel tells again. The port is kept with the driver."""

    models = {"reset_cable": None}
    ports = Named("|".join(LINES), " or ".join(LINES), str.lower)

    device = Setting(text, "/dev/ttyUSB0", "serial port: its path")
    raised = Setting(choice("off", "on"), "off", "what a board or relay is while its line is raised")

    @hook
    def lacks(self) -> str | None:
        return serialport.missing(self.device)

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._lines: ModemLines | None = None

    def port_interaction(self, command: str, port_number: str) -> None:
        wanted = State(command)
        if self._lines is None:
            told = {} if self.last_told is None else self.last_told()
            others = {name: told.get(name, (State.ON, 0.0))[0] for name in LINES}
            states = {**others, port_number: wanted}
            self._lines = ModemLines(self.device, {name: self._level(state) for name, state in states.items()})
        else:
            self._lines.write(port_number, self._level(wanted))
        if (found := self._states(self._lines)[port_number]) is not wanted:
            raise TransientError(f"{self.device}: {port_number} is {found} after being switched {wanted}")

    def port_status(self, port_number: str) -> State:
        return State.UNKNOWN if self._lines is None else self._states(self._lines)[port_number]

    def read_outlets(self) -> list[OutletReading]:
        return [OutletReading(name, state=self.port_status(name)) for name in LINES]

    def _level(self, state: State) -> bool:
        return (state is State.OFF) == (self.raised == "off")

    def _states(self, lines: ModemLines) -> dict[str, State]:
        raised = State(self.raised)
        other = State.ON if raised is State.OFF else State.OFF
        return {name: raised if level else other for name, level in lines.read().items()}

    def _bombout(self) -> None:
        """Let go of what has failed: a port that was pulled out comes back as another."""
        if self._lines is not None:
            try:
                self._lines.read()
            except DeviceError:
                self._lines.close()
                self._lines = None
