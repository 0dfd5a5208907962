# SPDX-License-Identifier: MIT
"""WattBox (Snap One) series 150, 250 and 800, by the IP control protocol over telnet.

Source: the vendor's description of the protocol; two public libraries.
Tested: against a fake only.
Quirks: telnet may have been switched off in its pages. What it says of its own accord begins with ``~`` and means
nothing here. Only the series 800 measures each outlet; the others say so with an error, and are not asked again.

    "av": {"driver": "wattbox", "ip": "192.0.2.100", "password": "secret"}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, login, tcp_port
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.dialogue import Dialogue, Login
from pdudaemon.transports.greeting import others
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.telnet import Telnet

_USUAL_PORT = 23
_GREETING = "Please Login to Continue"
_LOGIN = Login(
    name=r"Username:|Invalid Login",
    password=r"Password:",
    ready=r"Successfully Logged In[^\r\n]*[\r\n]+",
    strangers=others("WattBox"),
)
_REFUSED = r"(?:^|[\r\n])#Error[^\r\n]*[\r\n]"
_DONE = r"(?:^|[\r\n])OK[\r\n]"
_NAME = re.compile(r"\{([^}]*)\}")
_STATES = {"1": State.ON, "0": State.OFF}


class WattBox(NetworkDevice):
    """A question is answered by itself, ``=`` and a list; an order by ``OK``."""

    models = {"wattbox": None}
    ports = Numbered(24, at_most=True)
    stable_names = True

    telnetport = tcp_port(_USUAL_PORT, "the control protocol")
    username, password = login("wattbox", "wattbox", "the control protocol")

    _measures = True

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._console() as console:
            self._of(console, port_number)
            line = f"!OutletSet={port_number},{wanted.upper()}"
            console.line(line, repr(line))
            if console.expect(repr(line), {"done": _DONE, "refused": _REFUSED}).name == "refused":
                raise PermanentError(f"{console.peer} refused {line!r}")
        self.confirm(port_number, wanted, within=5)

    def port_status(self, port_number: int) -> State:
        with self._console() as console:
            return self._of(console, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._console() as console:
            states = self._states(console)
            names = _NAME.findall(self._asked(console, "OutletName") or "")
            names += [""] * len(states)
            return [
                OutletReading(str(port), label(name), state, **self._drawn(console, port))
                for port, (state, name) in enumerate(zip(states, names, strict=False), 1)
            ]

    def read_inlets(self) -> list[InletReading]:
        with self._console() as console:
            said = (self._asked(console, "PowerStatus") or "").split(",")
        if len(said) < 3:
            return []
        amps, watts, volts = map(quantity, said[:3])
        return [InletReading("total", watts, volts, amps)]

    def identify(self) -> Identity:
        with self._console() as console:
            model, tag, firmware = (self._asked(console, what) for what in ("Model", "ServiceTag", "Firmware"))
        return Identity("Snap One", label(model) or "", label(tag) or "", label(firmware) or "")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its greeting."""
        if pages.port and pages.server:
            return None
        with Telnet(pages.host, pages.port or _USUAL_PORT, deadline) as session:
            if _GREETING.encode() not in session.receive_line("the greeting"):
                return None
        return Recognised({"driver": "wattbox", **port_of(pages, "telnetport")}, Identity("Snap One"), wants=LOGIN)

    def _of(self, console: Dialogue, port: int) -> State:
        states = self._states(console)
        if port > len(states):
            raise PermanentError(f"{console.peer} has no outlet {port}, but {len(states)}")
        return states[port - 1]

    def _states(self, console: Dialogue) -> list[State]:
        said = self._asked(console, "OutletStatus") or ""
        if not re.fullmatch(r"[01](,[01])*", said):
            raise TransientError(f"{console.peer} does not tell the state of the outlets")
        return [_STATES[bit] for bit in said.split(",")]

    def _drawn(self, console: Dialogue, port: int) -> dict[str, float | None]:
        said = self._asked(console, "OutletPowerStatus", str(port)) if self._measures else None
        if said is None:
            self._measures = False
            return {}
        _, watts, amps, volts, *_ = [*map(quantity, said.split(",")), None, None, None, None]
        return {"watts": watts, "volts": volts, "amps": amps}

    @staticmethod
    def _asked(console: Dialogue, what: str, of: str = "") -> str | None:
        """Return what a question is answered with, None if it is not one that this model knows."""
        line = f"?{what}={of}" if of else f"?{what}"
        console.line(line, repr(line))
        answer = rf"\?{what}=({of + ',' if of else ''}[^\r\n]*)[\r\n]"
        seen = console.expect(repr(line), {"answer": answer, "refused": _REFUSED})
        return seen.match[1].strip() if seen.name == "answer" else None

    @contextmanager
    def _console(self) -> Iterator[Dialogue]:
        with Telnet(self.host, self.telnetport, self.deadline) as stream:
            console = Dialogue(stream, newline="\n")

            def log_out() -> None:
                console.line("!Exit", "the logout")

            with console.logged_in(_LOGIN, self.username, self.password, log_out):
                yield console
