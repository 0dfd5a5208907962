# SPDX-License-Identifier: MIT
"""`ACMEBase`: what drivers written for the existing daemon build on when they talk to a BayLibre ACME by ssh.

It drives nothing by itself; our own driver of that device is in `pdudaemon.drivers.acme`.

Source: as that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.consolebase import ConsoleBase
from pdudaemon.errors import LoginRefused

_PROMPT = "#"
_QUESTIONS = 3  # more than ssh asks


class ACMEBase(ConsoleBase):
    """Setting: ``username``; and ``password``, where the account has one."""

    username = "root"

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self.exec_string = f"ssh {self.username}@{hostname}"

    def _pdu_login(self, username: str, password: str) -> None:
        """Answer what ssh asks until the shell's prompt has come."""
        for _ in range(_QUESTIONS):
            said = self.connection.expect([r"\(yes/no", r"(?i)permission denied \(", r"(?i)password[^\r\n]*:", _PROMPT])
            if said == 0:
                self.connection.send("yes\r")
            elif said == 2:
                self.connection.send(f"{password}\r")
            elif said == 3:
                return
            else:
                break
        raise LoginRefused(f"login refused by {self.hostname}")
