# SPDX-License-Identifier: MIT
"""`APCBase`: what drivers written for the existing daemon build on when they talk to a console of APC by telnet.

It drives nothing by itself; our own drivers of these consoles are in `pdudaemon.drivers.apcmenu`.

Source: as that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.consolebase import ConsoleBase


class APCBase(ConsoleBase):
    """Settings: ``username``, ``password`` and ``telnetport``."""

    username = "apc"
    password = "apc"

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self.telnetport = settings.get("telnetport") or 23
        self.exec_string = f"/usr/bin/telnet {hostname} {self.telnetport}"

    def _pdu_login(self, username: str, password: str) -> None:
        self.connection.expect(r"User Name\s*:")
        self.connection.send(f"{username}\r")
        self.connection.expect(r"Password\s*:")
        self.connection.send(f"{password}\r")
