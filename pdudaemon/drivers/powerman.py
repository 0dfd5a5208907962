# SPDX-License-Identifier: MIT
"""Nodes of a powerman server (LLNL's powermand), by its TCP protocol: whatever has a device file of powerman.

Source: powerman's own answers, and its documentation of the protocol.
Tested: with powermand 2.3.27, and against a fake.
Quirks: a port is the name of a node, as powerman has it. Anyone who reaches the server may switch, and so may we; there
is no login. All nodes are told at once. What the devices say (``telemetry``) is passed over. A PDU does one thing at a
time, and powerman one for each of its devices: so ``nodes`` may make a PDU of each device.

    "cluster": {"driver": "powerman", "ip": "192.0.2.80"},
    "192.0.2.81": {"driver": "powerman", "port": 10102},
    "rack1": {"driver": "powerman", "ip": "192.0.2.82", "nodes": "node[01-16],login1"}
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.ranges import expanded
from pdudaemon.settings import Kind, Setting
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import Connection

_NODE = r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}"  # a bracket or a comma would be more than one
_PROMPT = b"powerman> "
_HELLO = b"001 "
_STATE = re.compile(r"303 (\S+): (on|off|unknown)")
_LATER = ("208", "210", "211")  # busy with another command; a device did not do it, or did not tell


@functools.lru_cache(maxsize=256)
def _names(text: str) -> frozenset[str]:
    return frozenset(expanded(text))


def _nodes(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text of names and ranges")
    _names(value)
    return value


class Powerman(NetworkDevice):
    """Ranges are expanded by the server, which is told to."""

    models = {"powerman": None}
    ports = Named(_NODE, "the name of one node: letters, digits and _ . : - only")

    port = tcp_port(10101)
    nodes = Setting(Kind("names and ranges", _nodes), "", "the nodes that are ports of this PDU, if not all of them")

    @hook
    def canonical_port(self, port: str) -> str:
        node = super().canonical_port(port)
        if self.nodes and node not in _names(self.nodes):
            raise ValueError(f"{port!r} is not a port: it is none of the nodes")
        return node

    def port_interaction(self, command: str, port_number: str | int) -> None:
        with self._session() as (server, _):
            _ask(server, f"{command} {port_number}")

    def port_status(self, port_number: str | int) -> State:
        with self._session() as (server, _):
            _ask(server, "exprange")
            told = _states(_ask(server, f"status {port_number}"))
        if str(port_number) not in told:
            raise TransientError(f"{server.peer} does not tell the state of {port_number}")
        return told[str(port_number)]

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as (server, _):
            _ask(server, "exprange")
            told = _states(_ask(server, f"status {self.nodes}" if self.nodes else "status"))
        if not told:
            raise TransientError(f"{server.peer} tells of no node")
        return [OutletReading(node, state=state) for node, state in told.items() if re.fullmatch(_NODE, node, re.ASCII)]

    def identify(self) -> Identity:
        with self._session() as (_, version):
            return Identity("", "powerman", "", version)

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its greeting."""
        if pages.port and pages.server:
            return None
        settings = {"driver": "powerman", **port_of(pages)}
        asked = cls(pages.host, settings)
        asked.deadline = deadline
        return Recognised(settings, asked.identify(), asked.read_outlets())

    @contextmanager
    def _session(self) -> Iterator[tuple[Connection, str]]:
        """Connect; yield the server, and its version; take leave."""
        with Connection(self.host, self.port, self.deadline) as server:
            greeting = server.receive_line("the greeting")
            if not greeting.startswith(_HELLO):
                kind = PermanentError if greeting.isascii() and greeting.decode().isprintable() else TransientError
                raise kind(f"{server.peer} is not a powerman server: it greets with {greeting[:40]!r}")
            server.receive_until(_PROMPT, "the greeting")
            try:
                yield server, greeting.removeprefix(_HELLO).decode(errors="replace").strip()
            finally:
                with server.farewell():
                    server.send(b"quit\n", "the end")
                    server.receive_line("the end")


def _ask(server: Connection, question: str) -> list[str]:
    """Ask something; return the lines of the answer. Raises: TransientError, PermanentError."""
    server.send(f"{question}\n".encode(), question)
    said = server.receive_until(_PROMPT, question).decode(errors="replace")
    lines = [line.strip() for line in said.splitlines()[:-1]]
    code = lines[-1][:3] if lines else ""
    if not re.fullmatch(r"[12][0-9][0-9]", code):
        raise TransientError(f"{server.peer} answers {question} with nonsense")
    if code.startswith("1"):
        return lines
    why = "; ".join(line[4:] for line in lines if line.startswith(("308", code)))
    raise (TransientError if code in _LATER else PermanentError)(f"{server.peer} at {question}: {why[:200]} ({code})")


def _states(lines: list[str]) -> dict[str, State]:
    return {found[1]: State(found[2]) for line in lines if (found := _STATE.fullmatch(line))}
