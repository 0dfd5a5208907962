# SPDX-License-Identifier: MIT
"""`LocalBase`: what drivers written for the existing daemon build on when they run something on this machine.

It drives nothing by itself. A subclass defines ``accepts`` and ``_port_interaction``, and perhaps ``__init__``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import PDUDriver, UnknownCommandException


class LocalBase(PDUDriver):
    """Hands an action to ``_port_interaction``, and has nothing to clean up."""

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        self.hostname = hostname
        self.settings = settings
        super().__init__()

    def port_interaction(self, command: str, port_number: Any) -> None:
        self._port_interaction(command, port_number)

    def _port_interaction(self, command: str, port_number: Any) -> None:
        """Switch a port; defined by the subclass."""
        raise UnknownCommandException(f"the driver {type(self).__name__} has no {command!r}")
