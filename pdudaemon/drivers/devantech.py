# SPDX-License-Identifier: MIT
"""`DevantechBase`: what old drivers build on when they drive an Ethernet relay board of Devantech.

It drives nothing by itself; our own driver of these boards is `pdudaemon.drivers.devantecheth`.

Source: as that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.devantecheth import DevantechETH, log_in, log_out, switch
from pdudaemon.drivers.driver import PDUDriver, counted
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.transports.deadline import current
from pdudaemon.transports.tcp import CHUNK, Connection

_STEP = "the dialogue"


class DevantechBase(PDUDriver):
    """``port_count`` relays. Settings: ``ip``, ``port``, ``password``; ``logic``: with ``NC`` on and off change places.

    The connection is there for one action.
    """

    port_count = 0

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        self.hostname = hostname
        self.settings = settings
        self.ip = str(settings["ip"])
        self.port = int(settings.get("port") or DevantechETH.port.default)
        self.password = str(settings.get("password") or "")
        self.logic = str(settings.get("logic") or "NO")
        super().__init__()

    def connect(self) -> None:
        """Connect, and unlock the relays if there is a password."""
        self._close_connection()
        self.connection = _Socket(self.ip, self.port, current()).__enter__()
        if self.password:
            log_in(self.connection, self.password)

    def port_interaction(self, command: str, port_number: Any) -> None:
        relay = counted(port_number, self.port_count)
        if self.logic not in ("NO", "NC"):
            raise PermanentError(f"logic: {self.logic!r} is neither NO nor NC")
        self.connect()
        active = (State(command) is State.ON) == (self.logic == "NO")
        switch(self.connection, relay, active, bool(self.password))

    def _close_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            if self.password:
                log_out(connection)
            connection.close()

    def _cleanup(self) -> None:
        self._close_connection()

    def _bombout(self) -> None:
        self._close_connection()


class _Socket(Connection):
    """A connection with the methods of a socket that such drivers use."""

    def send(self, data: bytes, step: str = _STEP) -> None:
        super().send(data, step)

    sendall = send

    def recv(self, size: int = CHUNK) -> bytes:
        """Return what has come, waiting for it if need be."""
        return self.receive(_STEP, size)

    def close(self) -> None:
        """Close it."""
        self.__exit__()
