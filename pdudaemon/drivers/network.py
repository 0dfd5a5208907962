# SPDX-License-Identifier: MIT
"""`NetworkDevice`: what drivers of devices with an address have in common; and the settings that most of them have.

A port or a login is declared by each driver that has one, since its default and what it is for differ.
"""

from __future__ import annotations

from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.settings import Setting, integer, text


class NetworkDevice(PDUDriver):
    """A device whose address is the name of the PDU, or the setting ``ip``."""

    ip = Setting(text, "", "address, if it is not the name of the PDU")

    @property
    def host(self) -> str:
        """The address to talk to."""
        return self.ip or self.hostname


class WebDevice(NetworkDevice):
    """A device that is reached by HTTP at a port which stands in its address, if it is not the usual one."""

    ip = Setting(text, "", "address, if it is not the name of the PDU; may end in `:port`")


def tcp_port(default: int, of: str = "") -> Setting[int]:
    """Declare the TCP port of something."""
    return Setting(integer(1, 65535), default, f"TCP port of {of}" if of else "TCP port")


def login(username: str, password: str, of: str) -> tuple[Setting[str], Setting[str]]:
    """Declare the user name and the password of something, with their defaults."""
    return Setting(text, username, f"user name of {of}"), Setting(text, password, f"password of {of}", secret=True)
