# SPDX-License-Identifier: MIT
"""NETIO PDUs with the telnet interface KSHELL: NETIO 4, 4All, 4C, PowerPDU 4C, and Koukaam's NETIO-230B.

Source: NETIO and Koukaam manuals (KSHELL); the dialogues that labgrid and fence-agents are known to hold; public
clients for the codes from 504 on, which differ between generations.
Tested: against a fake only.
Quirks: all goes in clear text, and has no quotes: a user name or password is one word. A few sessions at a time, so we
always take our leave; how that goes does not matter. Outlets of the 230B may be interrupted or on a timer: unknown.
KSHELL tells no names.

    "rack1": {"driver": "netio4", "ip": "192.0.2.9", "password": "secret"},
    "rack2": {"driver": "netio4", "telnetport": 23, "number_of_outputs": 8}
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from pdudaemon.drivers.driver import Numbered, hook
from pdudaemon.drivers.network import NetworkDevice, login, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.drivers.recognition import LOGIN, Recognised, port_of
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.greeting import PROMPT, check, others
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.telnet import Telnet

_GREETING = "the greeting"
_USUAL_PORT = 1234
_LOGIN = "the login"
_CODE = re.compile(r"[0-9]{3}\b")
_A_CODE = re.compile(r"^[0-9]{3}\b.*\n", re.MULTILINE)
_STRANGERS = {**others("NETIO"), **PROMPT}
_HELLO, _OK = "100", "250"
_TOO_MANY_CONNECTIONS = "507"  # what else begins with 5 is no, for good
_STATES = {"1": State.ON, "0": State.OFF, "i": State.UNKNOWN, "m": State.UNKNOWN, "t": State.UNKNOWN}
_VALUES = {"on": "1", "off": "0"}


class Netio4(NetworkDevice):
    """Every line is answered by one that begins with a code; others are news, or an echo."""

    models = {"netio4": None}

    telnetport = tcp_port(_USUAL_PORT, "KSHELL")
    username, password = login("admin", "admin", "KSHELL")
    number_of_outputs = Setting(integer(1, 1000), 4, "number of outputs, counted from 1")
    ports = Numbered(number_of_outputs)

    @hook
    def faults(self) -> dict[str, str]:
        return {
            key: "must be one word: KSHELL knows no others"
            for key, word in (("username", self.username), ("password", self.password))
            if not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", word)
        }

    def port_interaction(self, command: str, port_number: int) -> None:
        with self._session() as session:
            self._say(session, f"port {port_number} {_VALUES[command]}", f"switching output {port_number} {command}")

    def port_status(self, port_number: int) -> State:
        step = f"reading output {port_number}"
        with self._session() as session:
            said = self._say(session, f"port {port_number}", step)
            if said not in _STATES:
                raise TransientError(f"{session.peer} answered {said[:40]!r} at {step}")
            return _STATES[said]

    def read_outlets(self) -> list[OutletReading]:
        step = "reading the outputs"
        with self._session() as session:
            said = self._say(session, "port list", step)
            if not said or not {*said} <= _STATES.keys():
                raise TransientError(f"{session.peer} answered {said[:40]!r} at {step}")
        states = {output: _STATES[digit] for output, digit in enumerate(said, 1)}
        return stated({output: state for output, state in states.items() if output <= self.number_of_outputs})

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its greeting."""
        if pages.port and pages.server:
            return None
        with Telnet(pages.host, pages.port or _USUAL_PORT, deadline) as session:
            greeting = session.receive_line(_GREETING)
            if not greeting.startswith(b"100 HELLO"):
                return None
            with session.farewell():
                session.send(b"quit\r\n", "the logout")
                session.receive_line("the logout")
        settings = {"driver": "netio4", **port_of(pages, "telnetport")}
        return Recognised(settings, Identity("NETIO"), wants=f"{LOGIN}, and number_of_outputs")

    @contextlib.contextmanager
    def _session(self) -> Iterator[Telnet]:
        with Telnet(self.host, self.telnetport, self.deadline) as session:
            while not _A_CODE.search(greeting := session.peek(_GREETING).decode("latin-1")):
                check(session, greeting, _STRANGERS)
            self._answer(session, _HELLO, _GREETING)
            try:
                self._say(session, f"login {self.username} {self.password}", _LOGIN)
                yield session
            finally:
                with session.farewell():
                    session.send(b"quit\r\n", "the logout")
                    session.receive_line("the logout")

    def _say(self, session: Telnet, line: str, step: str) -> str:
        session.send(f"{line}\r\n".encode(), step)
        return self._answer(session, _OK, step)

    @staticmethod
    def _answer(session: Telnet, expected: str, step: str) -> str:
        """Return what follows the code that is expected. What is said at the login is not shown: it may be an echo."""
        line = ""
        while not (found := _CODE.match(line)):
            line = session.receive_line(step).decode("latin-1").strip()
        code = found[0]
        if code == expected:
            return line.removeprefix(code).strip()
        shown = code if step == _LOGIN else repr(line[:60])
        if code.startswith("5") and code != _TOO_MANY_CONNECTIONS:
            kind = LoginRefused if step == _LOGIN else PermanentError
            raise kind(f"{session.peer} refused {step}: {shown}")
        raise TransientError(f"{session.peer} answered {shown} at {step}")
