# SPDX-License-Identifier: MIT
"""`Client`: who asks."""

from __future__ import annotations

from typing import NamedTuple


class Client(NamedTuple):
    """An address and a port, and the name in the token if there is one."""

    address: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port} ({self.name})" if self.name else f"{host}:{self.port}"
