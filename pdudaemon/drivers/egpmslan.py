# SPDX-License-Identifier: MIT
"""EnerGenie (Gembird) EG-PMS-LAN, EG-PM2-LAN, EG-PMS2-LAN and the WLAN strips, by their own TCP protocol.

Source: egctl's description of the protocol, with its byte codes of the firmware versions.
Tested: against a fake only, with a vector for the arithmetic.
Quirks: one client at a time, and some strips stop taking connections after a long idle time. A wrong password is not
answered at all. A session must be ended, or the strip ignores everybody for 4 s. Of a password, 8 bytes count.

    "strip": {"driver": "egpms", "ip": "192.0.2.50", "password": "1"}
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import OutletReading, stated
from pdudaemon.errors import DeviceTimeout, LoginRefused, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.tcp import Connection

_KNOCK = b"\x11"
_NEXT_KNOCK, _LONGEST = 0.5, 4.0  # seconds until another knock; longer for a strip that was late
PATIENCE = 3.5  # with a password; the strip itself gives a session up after 4 s
_SOCKETS = 4
_CONTROLS = {State.ON: 0x01, State.OFF: 0x02}
_LEAVE = 0x04
_STATES = {
    **dict.fromkeys((0x11, 0x12, 0x41, 0x51), State.ON),  # version 2.0, the same without voltage, 2.1, WLAN
    **dict.fromkeys((0x22, 0x21, 0x82, 0x92), State.OFF),  # version 2.0, the same with voltage, 2.1, WLAN
}


class Cipher(NamedTuple):
    """What both ends scramble with: the password, padded, and the task that the strip set for this session."""

    key: bytes
    task: bytes

    def solution(self) -> bytes:
        """Return the answer to the task."""
        key, task = self
        words = [
            ((task[at] ^ key[at + 2]) * key[at]) ^ ((key[at + 4] << 8) | key[at + 6]) ^ task[at + 2] for at in (0, 1)
        ]
        return b"".join((word & 0xFFFF).to_bytes(2, "little") for word in words)

    def encoded(self, byte: int) -> int:
        """Return a byte as it goes over the wire."""
        return ((((byte ^ self.task[2]) + self.task[3]) ^ self.key[0]) + self.key[1]) & 0xFF

    def decoded(self, byte: int) -> int:
        """Return what a byte from the wire means."""
        return ((((byte - self.key[1]) ^ self.key[0]) - self.task[3]) ^ self.task[2]) & 0xFF


class EGPMSLAN(NetworkDevice):
    """The strip tells the states of all sockets when a session begins, and again after an order."""

    models = {"egpms": None}
    ports = Numbered(_SOCKETS)

    port = tcp_port(5000)
    password = Setting(text, "1", "password", secret=True)

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._next_knock = _NEXT_KNOCK

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        step = f"switching socket {port_number}"
        with self._session() as (connection, cipher, _):
            controls = [_LEAVE] * _SOCKETS
            controls[-port_number] = _CONTROLS[wanted]
            connection.send(bytes(map(cipher.encoded, controls)), step)
            states = self._states(connection, cipher, connection.receive_exactly(_SOCKETS, step))
            if states[port_number] is not wanted:
                raise TransientError(f"{connection.peer}: socket {port_number} is not {wanted} after {step}")

    def port_status(self, port_number: int) -> State:
        with self._session() as (_, _, states):
            return states[port_number]

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as (_, _, states):
            return stated(states)

    @contextlib.contextmanager
    def _session(self) -> Iterator[tuple[Connection, Cipher, dict[int, State]]]:
        """Open a session; yield it with the states of the sockets by number."""
        key = self.password.encode()[:8].ljust(8)
        with Connection(self.host, self.port, self.deadline) as connection:
            task, knocks = self._task(connection)
            cipher = Cipher(key, task)
            try:
                step = "the password"
                connection.send(cipher.solution(), step)
                answer = self._soon(connection, step, PATIENCE)
                if not answer and knocks > 1:
                    self._next_knock = min(2 * self._next_knock, _LONGEST)
                    raise TransientError(f"no answer from {connection.peer} to the password, after {knocks} knocks")
                if not answer:
                    raise LoginRefused(f"no answer from {connection.peer} to the password: it is probably wrong")
                yield connection, cipher, self._states(connection, cipher, answer)
            finally:
                with connection.farewell():
                    connection.send(_KNOCK, "the end")  # no order, which is what ends a session

    def _task(self, connection: Connection) -> tuple[bytes, int]:
        """Knock until the strip, which may still be in a former session, sets a task; return that, and how often.

        If it was only late, it takes a knock too many for the beginning of the password.
        """
        step = "the beginning of a session"
        knocks = 0
        while True:
            knocks += 1
            connection.send(_KNOCK, step)
            if task := self._soon(connection, step, self._next_knock):
                return task, knocks

    def _soon(self, connection: Connection, step: str, seconds: float) -> bytes:
        """Return the next four bytes, or none if they do not come within some seconds."""
        connection.deadline = self.deadline.within(seconds)
        try:
            return connection.receive_exactly(4, step)
        except DeviceTimeout:
            if connection.deadline is self.deadline:
                raise
            return b""
        finally:
            connection.deadline = self.deadline

    @staticmethod
    def _states(connection: Connection, cipher: Cipher, answer: bytes) -> dict[int, State]:
        """Return the states by number of the socket; on the wire, the last socket comes first."""
        try:
            return {number: _STATES[cipher.decoded(byte)] for number, byte in enumerate(reversed(answer), 1)}
        except KeyError as unknown:
            raise TransientError(f"{connection.peer} sends an unknown state: 0x{unknown.args[0]:02x}") from None
