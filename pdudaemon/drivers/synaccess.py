# SPDX-License-Identifier: MIT
"""Synaccess netBooter, series B (NP-02B, NP-05B, NP-08B, NP-16B), by telnet.

Source: the dialogue of the existing PDUDaemon; the vendor's list of commands; two observatories' code for ``pshow``.
Tested: against a fake only.
Quirks: every command is echoed, and what comes before the echo (an earlier prompt) means nothing. ``pset`` answers with
nothing but a prompt, so the outlet is read back, from the list of all with their names. Some units show their prompt
only when a key has been pressed.

    "192.0.2.16": {"driver": "synnetbooter", "username": "admin", "password": "secret"}
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from pdudaemon.drivers.driver import Numbered, PDUDriver
from pdudaemon.drivers.network import login, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import telnet
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.dialogue import Dialogue, Login
from pdudaemon.transports.greeting import LOGIN, others
from pdudaemon.transports.pages import Pages

_USUAL_PORT = 23
_PROMPT = ">"
_LOGIN = Login(
    name=r"User ID:",
    password=r"Password:",
    ready=_PROMPT,
    strangers={**LOGIN, "a console that has no login": rf"login\s+\S[^>]*[\r\n]{_PROMPT}"},
)
_NOT_LET_IN = re.compile(r"invalid|incorrect|wrong|denied|fail", re.IGNORECASE)
_OUTLET = re.compile(r"(?:^|[|\r\n])\s*(\d+)\s*\|([^|\r\n]*)\|\s*(ON|OFF)\s*(?=[|\r\n]|$)", re.IGNORECASE)
_VALUES = {"on": "1", "off": "0"}


class NetBooter(PDUDriver):
    """Sets an outlet and reads it back; there are as many ports as the largest unit has outlets."""

    models = {"synnetbooter": None}
    ports = Numbered(16, at_most=True)
    stable_names = True

    username, password = login("admin", "admin", "the console")
    telnetport = tcp_port(_USUAL_PORT, "the console")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its greeting."""
        if pages.port and pages.server:
            return None
        with telnet.Telnet(pages.host, pages.port or _USUAL_PORT, deadline) as session:
            while not (greeting := session.receive_line("the greeting")):
                pass
        if not greeting.startswith(b"Synaccess"):
            return None
        settings = {"driver": "synnetbooter", **port_of(pages, "telnetport")}
        return Recognised(settings, Identity("Synaccess", "netBooter"), wants="user name and password")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._session() as console:
            order = f"pset {port_number:d} {_VALUES[command]}"
            said = " ".join(self._say(console, order, "\r\n").split())
            found = self._read(console, port_number)
        if found is not wanted and said:
            raise PermanentError(f"{console.peer} refused {order!r}: {said[:100]!r}")
        if found is not wanted:
            self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        with self._session() as console:
            return self._read(console, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as console:
            return self._list(console)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Dialogue]:
        with telnet.session(self.hostname, self.telnetport, self.deadline, newline="\r") as console:

            def log_out() -> None:
                for word in ("logout", "exit"):  # it closes the connection at the one that it knows
                    self._say(console, word)

            console.expect_own("the prompt", {"prompt": _PROMPT}, others("Synaccess"))
            console.line("login", "the login")
            with console.logged_in(_LOGIN, self.username, self.password, log_out) as said:
                if _NOT_LET_IN.search(said):
                    raise console.refusal()
                console.line("", "the prompt")
                console.expect("the prompt", {"prompt": _PROMPT})
                yield console

    def _read(self, console: Dialogue, outlet: int) -> State:
        """Read the state of an outlet from the list of all of them."""
        states = {each.port: each.state or State.UNKNOWN for each in self._list(console)}
        if str(outlet) not in states:
            raise PermanentError(f"{console.peer} has no outlet {outlet}: it has {', '.join(states)}")
        return states[str(outlet)]

    def _list(self, console: Dialogue) -> list[OutletReading]:
        said = self._say(console, "pshow")
        outlets = [
            OutletReading(str(int(number)), label(name), State(state.lower()))
            for number, name, state in _OUTLET.findall(said)
        ]
        if not outlets:
            raise TransientError(f"{console.peer} answered {' '.join(said.split())[:60]!r} to 'pshow'")
        return outlets

    @staticmethod
    def _say(console: Dialogue, command: str, end: str = "\r") -> str:
        """Send a command; return what stands between its echo and the prompt after that."""
        console.send(f"{command}{end}", repr(command))
        console.expect(repr(command), {"echo": re.escape(command) + r"[\r\n]"})
        return console.expect(repr(command), {"prompt": rf"[\r\n]{_PROMPT}"}).before
