# SPDX-License-Identifier: MIT
"""KernelChip Laurent relay boards (Laurent-2, -5, -112, -128), by their text protocol over TCP.

Source: the vendor's list of commands, as a public stand-in for the board has it.
Tested: against a fake only.
Quirks: at any time the board may tell in lines of its own what goes on; they are passed over until the answer comes.
A board that is protected wants ``password`` (delivered with ``Laurent``).

    "relays": {"driver": "laurent", "ip": "192.0.2.112", "password": "secret"}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import Connection

_USUAL_PORT = 2424
_DENIED = "#Access denied"
_STATES = {"1": State.ON, "0": State.OFF}


class Laurent(NetworkDevice):
    """A command is a line, answered by one that begins as it does."""

    models = {"laurent": None}
    ports = Numbered(32, at_most=True)

    tcpport = tcp_port(_USUAL_PORT, "the board")
    password = Setting(text, "", "password, if the board is protected", secret=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._board() as board:
            step = f"switching relay {port_number}"
            said = self._say(board, f"REL,{port_number},{int(wanted is State.ON)}", "REL", step)
            if said != "OK":
                raise PermanentError(f"{board.peer} refused {step}: {said[:40]!r}")
            if self._of(board, port_number) is not wanted:
                raise TransientError(f"{board.peer}: relay {port_number} is not {wanted} after the order")

    def port_status(self, port_number: int) -> State:
        with self._board() as board:
            return self._of(board, port_number)

    def read_outlets(self) -> list[OutletReading]:
        with self._board() as board:
            return stated(self._states(board))

    def identify(self) -> Identity:
        with self._board() as board:
            said = self._say(board, "INF", "INF", "the question who it is").split(",")
        model, firmware, serial = [*said, "", "", ""][:3]
        return Identity("KernelChip", model, serial, firmware)

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its answer to the question whether it is there, which needs no password."""
        if pages.port and pages.server:
            return None
        with Connection(pages.host, pages.port or _USUAL_PORT, deadline) as board:
            board.send(b"$KE\r\n", "the question whether it is there")
            while (line := board.receive_line("the question whether it is there")) != b"#OK":
                if line and not line.startswith((b"#", b"Jconfig")):
                    return None
        return Recognised({"driver": "laurent", **port_of(pages, "tcpport")}, Identity("KernelChip"))

    def _of(self, board: Connection, port: int) -> State:
        states = self._states(board)
        if port not in states:
            raise PermanentError(f"{board.peer} has no relay {port}, but {len(states)}")
        return states[port]

    def _states(self, board: Connection) -> dict[int, State]:
        said = self._say(board, "RDR,ALL", "RDR,ALL", "reading the relays")
        if not re.fullmatch(r"[01]+", said):
            raise TransientError(f"{board.peer} does not tell the state of the relays")
        return {port: _STATES[bit] for port, bit in enumerate(said, 1)}

    @contextmanager
    def _board(self) -> Iterator[Connection]:
        with Connection(self.host, self.tcpport, self.deadline) as board:
            if self.password and self._say(board, f"PSW,SET,{self.password}", "PSW,SET", "the login") != "OK":
                raise LoginRefused(f"login refused by {board.peer}")
            yield board

    @staticmethod
    def _say(board: Connection, command: str, begins: str, step: str) -> str:
        """Send a command and return its answer, without what that begins with."""
        board.send(f"$KE,{command}\r\n".encode(), step)
        while True:
            line = board.receive_line(step).decode("latin-1").strip()
            if line.startswith(_DENIED):
                raise LoginRefused(f"login refused by {board.peer}: it wants a password")
            if line == "#ERR":
                return "ERR"
            if line.startswith(f"#{begins},"):
                return line.removeprefix(f"#{begins},")
