# SPDX-License-Identifier: MIT
"""`Client`: who asks."""

from __future__ import annotations

from typing import NamedTuple


class Client(NamedTuple):
    """An address and a port; the name in the token if there is one, and its roles: None of who may do everything."""

    address: str
    port: int
    name: str = ""
    roles: tuple[str, ...] | None = None

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port} ({self.name})" if self.name else f"{host}:{self.port}"
