# SPDX-License-Identifier: MIT
"""`Client`: who asks."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Client:
    """An address and a port; the name in the token if there is one, and its roles: None of who may do everything.

    ``text`` is the first three for people.
    """

    address: str
    port: int
    name: str = ""
    roles: tuple[str, ...] | None = None
    text: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        host = f"[{self.address}]" if ":" in self.address else self.address
        place = f"{host}:{self.port}" if self.port else host  # that of a socket's file, or behind a proxy, has none
        text = f"{place} ({self.name})" if self.name else place
        object.__setattr__(self, "text", text)

    def __str__(self) -> str:
        return self.text
