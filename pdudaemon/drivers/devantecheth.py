# SPDX-License-Identifier: MIT
"""Devantech (Robot Electronics) Ethernet relays of the ETH series, by their binary TCP protocol.

Source: Devantech manuals ETH008, ETH8020, ETH0621; lengths of the states of ETH002 and ETH484 from a Python library in
the maker's style.
Tested: against a fake only.
Quirks: a password, if the board has one, is needed for switching and not for reading; it holds for 30 s or until the
logout. What the logout answers is not documented: anything will do, and nothing as well. Five connections at the most.

    "relays": {"driver": "devantech_eth008", "ip": "192.0.2.8", "password": "secret", "logic": "NC"}
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, stated
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import Connection

_INFO, _ACTIVE, _INACTIVE, _STATES, _LOGIN, _LOGOUT = 0x10, 0x20, 0x21, 0x24, 0x79, 0x7B
_MODELS = {18: "ETH002", 19: "ETH008", 20: "ETH484", 21: "ETH8020", 23: "ETH0621"}


class Board(NamedTuple):
    """What differs: the number of relays, and of the bytes that hold their states, the first relay in bit 0."""

    relays: int
    state_bytes: int


class DevantechETH(NetworkDevice):
    """Sets a relay and reads it back."""

    models = {
        "devantech_eth002": Board(2, 1),
        "devantech_eth0621": Board(2, 3),
        "devantech_eth484": Board(4, 2),
        "devantech_eth008": Board(8, 1),
        "devantech_eth8020": Board(20, 3),
    }
    ports = Numbered(lambda row: row.relays)

    port = tcp_port(17494)
    password = Setting(text, "", "TCP password, if the board has one", secret=True)
    logic = Setting(choice("NO", "NC"), "NO", "contact in use: `NO`: an active relay is on, `NC`: an inactive one is")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._connection() as connection, self._unlocked(connection):
            switch(connection, port_number, (wanted is State.ON) == (self.logic == "NO"), bool(self.password))
            if self._states(connection)[port_number] is not wanted:
                raise TransientError(f"{connection.peer}: relay {port_number} is not {wanted} after switching")

    def port_status(self, port_number: int) -> State:
        with self._connection() as connection:
            return self._states(connection)[port_number]

    def read_outlets(self) -> list[OutletReading]:
        with self._connection() as connection:
            return stated(self._states(connection))

    def identify(self) -> Identity:
        step = "asking for the model"
        with self._connection() as connection:
            connection.send(bytes([_INFO]), step)
            model, _, firmware = connection.receive_answer(3, step)
        return Identity("Devantech", _MODELS.get(model, ""), firmware=str(firmware))

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the number of its model; looking at relays needs no password."""
        if pages.port and pages.server:
            return None
        asked = cls(pages.host, {"driver": "devantech_eth002", **port_of(pages)})
        asked.deadline = deadline
        word = f"devantech_{asked.identify().model.lower()}"
        if word not in cls.models:
            return None
        settings = {"driver": word, **port_of(pages)}
        found = cls(pages.host, settings)
        found.deadline = deadline
        return Recognised(settings, found.identify(), found.read_outlets())

    def _connection(self) -> Connection:
        return Connection(self.host, self.port, self.deadline)

    @contextlib.contextmanager
    def _unlocked(self, connection: Connection) -> Iterator[None]:
        if not self.password:
            yield
            return
        log_in(connection, self.password)
        try:
            yield
        finally:
            log_out(connection)

    def _states(self, connection: Connection) -> dict[int, State]:
        step = "reading the relays"
        connection.send(bytes([_STATES]), step)
        states = connection.receive_answer(self.row.state_bytes, step)
        return by_bit(int.from_bytes(states, "little"), self.row.relays, inverted=self.logic == "NC")


def log_in(connection: Connection, password: str) -> None:
    """Unlock the relays. Raises: PermanentError if the password is refused."""
    login = bytes([_LOGIN]) + password.encode()
    _order(connection, login, "the login", (1, 2), LoginRefused(f"login refused by {connection.peer}"))


def log_out(connection: Connection) -> None:
    """Lock the relays again."""
    with connection.farewell():
        connection.send(bytes([_LOGOUT]), "the logout")
        connection.receive("the logout")


def switch(connection: Connection, relay: int, active: bool, unlocked: bool) -> None:
    """Make a relay active or not. Raises: PermanentError if the board refuses."""
    step = f"switching relay {relay}"
    locked = "" if unlocked else "; does the board want a password?"
    frame = bytes([_ACTIVE if active else _INACTIVE, relay, 0])
    _order(connection, frame, step, (0, 1), PermanentError(f"{connection.peer} refused {step}{locked}"))


def _order(connection: Connection, frame: bytes, step: str, answers: tuple[int, int], no: PermanentError) -> None:
    """Send a frame, of whose two answers the first means done, the second ``no``."""
    connection.send(frame, step)
    answer = connection.receive_answer(1, step)[0]
    if answer not in answers:
        raise TransientError(f"{connection.peer} answered 0x{answer:02x} at {step}")
    if answer == answers[1]:
        raise no
