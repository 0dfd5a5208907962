# SPDX-License-Identifier: MIT
"""Bench supplies that speak SCPI over TCP: Keysight, Rigol, Rohde & Schwarz, Siglent, and others with one output.

A port is a channel, counted from 1.

Source: the makers' programming guides.
Tested: against a fake with loads and protections only, of Rigol and Siglent in the words of a program that simulates
them; from documentation, untried on a supply.
Quirks: each maker has words of its own for channels; ``scpi`` is a supply with one. The queue of errors is emptied
before a channel is switched, and read after that. A channel that does not stay on is asked whether a protection has
tripped: that is told, and not tried again, and to clear it is up to people. Channel 3 of an SPD3303X has no state, and
is not driven. What a channel is set to is left as it is.

    "bench": {"driver": "scpi-rigol", "ip": "192.0.2.119"},
    "soak": {"driver": "scpi", "ip": "192.0.2.120", "tcpport": 5025}
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice
from pdudaemon.drivers.readings import Identity, OutletReading, quantity
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import Connection

_WORDS = {"1": State.ON, "ON": State.ON, "0": State.OFF, "OFF": State.OFF}
_YES = ("1", "YES", "ON")
_PATIENCE = 2.0  # seconds for questions that not every supply knows
_MOST_ERRORS = 32  # that a queue holds
_SOCKET = 5025


@dataclass(frozen=True)
class Row:
    """What a supply is told and asked; ``{n}`` is the channel, ``{s}`` ON or OFF.

    ``select`` is said first. The answer to ``state`` is a word, or a number in hex digits whose bit ``bit`` + n is the
    output of channel n. ``measured`` is the question for volts, amps and perhaps watts, or are the questions for each.
    """

    channels: int = 1
    select: str = ""
    switch: str = "OUTP {s}"
    state: str = "OUTP?"
    bit: int | None = None
    measured: tuple[str, ...] = ("MEAS:VOLT?", "MEAS:CURR?")
    port: int = _SOCKET
    rest: float = 0.0  # seconds before each line
    tripped: tuple[str, ...] = ()  # the questions whether over-voltage, and over-current, has switched it off


# Makers and models, as they call themselves.
_KNOWN = {
    "scpi-keysight": r"(?:Keysight|Agilent|Hewlett)\S*.* E36[23]\d\d",
    "scpi-rigol": r"Rigol.* DP[89]\d\d",
    "scpi-rohde-nge": r"Rohde.* NGE",
    "scpi-rohde-hmp": r"(?:Rohde|Hameg).* HMP",
    "scpi-siglent": r"Siglent.* SPD3303",
}
_PROTECTIONS = ("over-voltage", "over-current")
_RIGOL_TRIPPED = (":OUTP:OVP:QUES? CH{n}", ":OUTP:OCP:QUES? CH{n}")
_KEYSIGHT_TRIPPED = ("VOLT:PROT:TRIP? (@{n})", "CURR:PROT:TRIP? (@{n})")
_ROHDE_TRIPPED = ("VOLT:PROT:TRIP?", "FUSE:TRIP?")
_LISTED = ("MEAS:VOLT? (@{n})", "MEAS:CURR? (@{n})")
_TOGETHER = (":MEAS:ALL? CH{n}",)
_SIGLENT = ("MEASure:VOLTage? CH{n}", "MEASure:CURRent? CH{n}", "MEASure:POWEr? CH{n}")


class SCPI(NetworkDevice):
    """One session for each action; there is no login."""

    row: Row
    models = {
        "scpi": Row(),
        "scpi-keysight": Row(
            3, switch="OUTP {s},(@{n})", state="OUTP? (@{n})", measured=_LISTED, tripped=_KEYSIGHT_TRIPPED
        ),
        "scpi-rigol": Row(
            3, switch=":OUTP CH{n},{s}", state=":OUTP? CH{n}", measured=_TOGETHER, port=5555, tripped=_RIGOL_TRIPPED
        ),
        "scpi-rohde-nge": Row(3, select="INST OUT{n}", tripped=_ROHDE_TRIPPED),
        "scpi-rohde-hmp": Row(4, select="INST OUT{n}", tripped=_ROHDE_TRIPPED),
        "scpi-siglent": Row(2, switch="OUTPUT CH{n},{s}", state="SYSTEM:STATUS?", bit=3, measured=_SIGLENT, rest=0.05),
    }
    ports = Numbered(lambda row: row.channels)

    tcpport = Setting(integer(0, 65535), 0, "TCP port, if it is not the usual one (0: 5025, of Rigol 5555)")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._session() as supply:
            supply.forget_errors()
            supply.select(port_number)
            supply.say(self._of(self.row.switch, port_number, wanted))
            if refused := supply.error():
                raise PermanentError(f"{supply.peer} refuses to switch channel {port_number} {wanted}: {refused}")
            if (found := supply.state(port_number)) is not wanted:
                told = f"{supply.peer}: channel {port_number} is {found} after being switched {wanted}"
                if wanted is State.ON and (why := supply.tripped(port_number)):
                    raise PermanentError(f"{told}: its {why} protection has tripped")
                raise TransientError(told)

    def port_status(self, port_number: int) -> State:
        with self._session() as supply:
            supply.select(port_number)
            return supply.state(port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as supply:
            return [supply.reading(channel) for channel in range(1, self.row.channels + 1)]

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its name, which it tells to anybody; instruments of other kinds speak SCPI as well."""
        if pages.port and pages.server:
            return None
        for tcpport in [pages.port] if pages.port else sorted({row.port for row in cls.models.values()}):
            asked = cls(pages.host, {"driver": "scpi", "tcpport": tcpport})
            asked.deadline = deadline.within(_PATIENCE)
            with contextlib.suppress(DeviceError):
                identity = asked.identify()
                for word, pattern in _KNOWN.items():
                    if re.match(pattern, f"{identity.maker} {identity.model}", re.IGNORECASE):
                        usual = tcpport == cls.models[word].port
                        return Recognised({"driver": word, **({} if usual else {"tcpport": tcpport})}, identity)
        return None

    def identify(self) -> Identity:
        with self._session() as supply:
            said = [part.strip()[:60] for part in supply.ask("*IDN?").split(",")]
        return Identity(*(*said, "", "", "")[:4])

    @staticmethod
    def _of(words: str, channel: int, state: State = State.UNKNOWN) -> str:
        return words.format(n=channel, s=state.upper())

    @contextmanager
    def _session(self) -> Iterator[_Supply]:
        with Connection(self.host, self.tcpport or self.row.port, self.deadline) as connection:
            yield _Supply(connection, self.row, self.deadline.pause)


class _Supply:
    """A supply that is connected."""

    def __init__(self, connection: Connection, row: Row, pause: Callable[[float], None]) -> None:
        self.peer = connection.peer
        self._connection = connection
        self._row = row
        self._pause = pause

    def say(self, command: str) -> None:
        if self._row.rest:
            self._pause(self._row.rest)
        self._connection.send(f"{command}\n".encode(), repr(command))

    def ask(self, question: str) -> str:
        self.say(question)
        return self._connection.receive_line(repr(question)).decode("latin-1").strip()

    def select(self, channel: int) -> None:
        if self._row.select:
            self.say(self._row.select.format(n=channel))

    def state(self, channel: int) -> State:
        """Return the state of the channel, which is selected."""
        question = self._row.state.format(n=channel)
        said = self.ask(question)
        if self._row.bit is not None and re.fullmatch(r"0x[0-9a-fA-F]{1,8}", said):
            return State.ON if int(said, 16) >> self._row.bit + channel & 1 else State.OFF
        if self._row.bit is not None or said.upper() not in _WORDS:
            raise self._nonsense(said, question)
        return _WORDS[said.upper()]

    def reading(self, channel: int) -> OutletReading:
        """Return what a channel is and gives."""
        self.select(channel)
        state = self.state(channel)
        questions = [words.format(n=channel) for words in self._row.measured]
        found: list[float] = []
        for question in questions:
            said = self.ask(question)
            told = [quantity(part) for part in said.split(",")]
            if None in told or len(told) != (1 if len(questions) > 1 else 3):
                raise self._nonsense(said, question)
            found += [number for number in told if number is not None]
        volts, amps = found[:2]
        return OutletReading(str(channel), None, state, found[2] if len(found) > 2 else volts * amps, volts, amps)

    def tripped(self, channel: int) -> str:
        """Return which protection has switched a channel off; empty if none, or if the supply does not say."""
        self._connection.deadline = self._connection.deadline.within(_PATIENCE)
        with contextlib.suppress(TransientError, DeviceTimeout):
            for question, protection in zip(self._row.tripped, _PROTECTIONS, strict=False):
                if self.ask(question.format(n=channel)).upper() in _YES:
                    return protection
        return ""

    def forget_errors(self) -> None:
        """Empty the queue of errors, which are those of others."""
        for _ in range(_MOST_ERRORS):
            if not self.error():
                return

    def error(self) -> str:
        """Return the oldest error, in words of the supply; empty if there is none."""
        question = "SYST:ERR?"
        said = self.ask(question)
        number = re.match(r"[+-]?\d{1,9}(?=[,\s]|$)", said)
        if number is None:
            raise self._nonsense(said, question)
        return said[:100] if int(number[0]) else ""

    def _nonsense(self, said: str, question: str) -> TransientError:
        return TransientError(f"{self.peer} answered {said[:40]!r} to {question!r}")
