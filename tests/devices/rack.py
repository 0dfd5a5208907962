# SPDX-License-Identifier: MIT
"""The rack of the guides: a NETIO PDU with four outlets, which remembers what it was told."""

from __future__ import annotations

from tests.devices.netiojson import PASSWORD, Netio


class Rack(Netio):
    """A PDU that remembers what it was told: ``acts``, as "3 on"."""

    def __init__(self) -> None:
        super().__init__()
        self.acts: list[str] = []

    def act(self, output: str, action: int) -> None:
        super().act(output, action)
        self.acts.append(f"{output} {self.outlets[output]}")

    @property
    def on(self) -> set[str]:
        """The outlets that are on."""
        return {port for port, state in self.outlets.items() if state == "on"}

    @property
    def places(self) -> dict[str, str]:
        """What stands here for what a guide says of it."""
        address = f'"ip": "127.0.0.1", "port": {self.port}'
        return {'"ip": "192.0.2.9"': address, '"password": "secret"': f'"password": "{PASSWORD}"'}
