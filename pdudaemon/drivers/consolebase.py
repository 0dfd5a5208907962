# SPDX-License-Identifier: MIT
"""`ConsoleBase`: what the bases of the existing daemon for consoles have in common: `APCBase` and `ACMEBase`.

A subclass has a dialogue with ``self.connection`` (see `pdudaemon.transports.console`) in ``_port_interaction``, and
takes its leave in ``_pdu_logout``. The connection is there for one action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import PDUDriver, UnknownCommandException
from pdudaemon.transports.console import Console


class ConsoleBase(PDUDriver):
    """``exec_string`` is the command line that would start the connection; until it is made, it may be another."""

    exec_string = ""
    username = ""
    password = ""

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        self.hostname = hostname
        self.settings = settings
        self.username = str(settings.get("username") or self.username)
        self.password = str(settings.get("password") or self.password)
        super().__init__()

    def get_connection(self) -> Any:
        """Connect, and log in."""
        self._bombout()
        self.connection = Console(self.exec_string, hold=self.lock_fd)
        self._pdu_login(self.username, self.password)
        return self.connection

    def port_interaction(self, command: str, port_number: Any) -> None:
        self.connection = self.get_connection() or self.connection
        self._port_interaction(command, port_number)

    def _port_interaction(self, command: str, port_number: Any) -> None:
        """Switch a port over the connection; defined by the subclass."""
        raise UnknownCommandException(f"the driver {type(self).__name__} has no {command!r}")

    def _pdu_login(self, username: str, password: str) -> None:
        """Log in."""

    def _pdu_logout(self) -> None:
        """Log out; defined by the subclass."""

    def _cleanup(self) -> None:
        if self.connection is not None:
            self._pdu_logout()
            self.connection.close(force=False)
            self.connection = None

    def _bombout(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close(force=True)
