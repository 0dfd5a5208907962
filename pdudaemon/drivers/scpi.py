# SPDX-License-Identifier: MIT
"""Bench power supplies by SCPI over TCP: Keysight E36000, Rigol DP800, Siglent SPD3303X, and any with one output.

Source: the makers' programming guides.
Tested: against a fake. The words of Keysight, Rigol and of ``scpi`` (one output) are from documentation, untried.
Quirks: after an order the supply is asked for errors, and for the state of the output. Voltage and current are as they
were set at the supply. The third output of the Siglent tells no state, and is none here. A supply takes one client at a
time, hence a connection for each action.

    "psu": {"driver": "scpi-rigol", "ip": "192.0.2.118"},
    "lab": {"driver": "scpi", "ip": "192.0.2.119", "tcpport": 5025}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer
from pdudaemon.transports.tcp import Connection

_STATES = {"1": State.ON, "ON": State.ON, "0": State.OFF, "OFF": State.OFF}
_REST = 0.05  # seconds that a supply may want between two commands
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,5}\s*", re.ASCII)
_SIGLENT_BIT = 3  # of output 0, if there was one, in the status


def _word(said: str, _: int) -> State:
    return _STATES.get(said.strip().upper(), State.UNKNOWN)


def _siglent(said: str, output: int) -> State:
    try:
        return State.ON if int(said, 16) >> (_SIGLENT_BIT + output) & 1 else State.OFF
    except ValueError:
        return State.UNKNOWN


class _Row(NamedTuple):
    """The words of a maker, ``{n}`` for the output; what ``meter`` asks for are the ``quantities``, in that order."""

    outputs: int
    switch: str
    ask: str
    meter: str = ""
    quantities: tuple[str, ...] = ()
    state: Callable[[str, int], State] = _word
    tcpport: int = 5025


class SCPI(NetworkDevice):
    """Lines: an order has no answer, a question has one."""

    models = {
        "scpi": _Row(1, "OUTP {state}", "OUTP?"),
        "scpi-keysight": _Row(3, "OUTP {state},(@{n})", "OUTP? (@{n})"),
        "scpi-rigol": _Row(
            3, ":OUTP CH{n},{state}", ":OUTP? CH{n}", ":MEAS:ALL? CH{n}", ("volts", "amps", "watts"), tcpport=5555
        ),
        "scpi-siglent": _Row(
            2, "OUTPUT CH{n},{state}", "SYSTEM:STATUS?", "MEASure:POWEr? CH{n}", ("watts",), state=_siglent
        ),
    }
    ports = Numbered(lambda row: row.outputs)

    tcpport = Setting(integer(0, 65535), 0, "TCP port of the supply; 0 is the usual one of its maker")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._supply() as supply:
            line = self.row.switch.format(n=port_number, state=wanted.upper())
            supply.send(f"{line}\n".encode(), repr(line))
            self.deadline.pause(_REST)
            number, _, why = self._asked(supply, "SYST:ERR?").partition(",")
            if not _NUMBER.fullmatch(number):
                raise TransientError(f"{supply.peer} does not tell what came of {line!r}")
            if int(number):
                raise PermanentError(f"{supply.peer} refused {line!r}: {why.strip()[:60]} ({int(number)})")
            if (found := self._state(supply, port_number)) is not wanted:
                raise TransientError(f"{supply.peer}: output {port_number} is {found} after being switched {wanted}")

    def port_status(self, port_number: int) -> State:
        with self._supply() as supply:
            return self._state(supply, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._supply() as supply:
            return [self._reading(supply, output) for output in range(1, self.row.outputs + 1)]

    def identify(self) -> Identity:
        with self._supply() as supply:
            said = [label(each) or "" for each in self._asked(supply, "*IDN?").split(",")]
        return Identity(*[*said, "", "", "", ""][:4])

    def _supply(self) -> Connection:
        return Connection(self.host, self.tcpport or self.row.tcpport, self.deadline)

    def _reading(self, supply: Connection, output: int) -> OutletReading:
        state = self._state(supply, output)
        read = self._asked(supply, self.row.meter.format(n=output)).split(",") if self.row.meter else []
        drawn = dict(zip(self.row.quantities, map(quantity, read), strict=False))
        return OutletReading(str(output), None, state, **drawn)

    def _state(self, supply: Connection, output: int) -> State:
        said = self._asked(supply, self.row.ask.format(n=output))
        state: State = self.row.state(said, output)
        if state is State.UNKNOWN:
            raise TransientError(f"{supply.peer} does not tell the state of output {output}")
        return state

    def _asked(self, supply: Connection, line: str) -> str:
        supply.send(f"{line}\n".encode(), repr(line))
        said = supply.receive_line(repr(line)).decode("latin-1")
        self.deadline.pause(_REST)
        return said
