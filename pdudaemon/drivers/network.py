# SPDX-License-Identifier: MIT
"""`NetworkDevice`: what drivers of devices with an address have in common; and the settings that most of them have.

A port or a login is declared by each driver that has one, since its default and what it is for differ.
"""

from __future__ import annotations

import re
import ssl

from pdudaemon.drivers.driver import PDUDriver, hook
from pdudaemon.settings import Kind, Setting, boolean, choice, integer, text
from pdudaemon.transports.http import Client, tls


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


def _fingerprint(value: object) -> str:
    digits = re.sub(r"[:\s]", "", value).lower().removeprefix("sha256") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(f"{value!r} is not the SHA-256 of a certificate: 64 hex digits, with or without colons")
    return digits


class TLSDevice(PDUDriver):
    """Something whose certificate is checked, in one of several ways, unless said."""

    ca_file = Setting(text, "", "file with the certificate to trust, or that of who signed it")
    fingerprint = Setting(Kind("64 hex digits", _fingerprint), "", "SHA-256 of the one certificate to trust")
    insecure = Setting(boolean, False, "take any certificate, and old TLS")

    @hook
    def faults(self) -> dict[str, str]:
        chosen = [name for name in ("ca_file", "fingerprint", "insecure") if getattr(self, name)]
        return {chosen[1]: f"contradicts {chosen[0]}: one of them says what is trusted"} if len(chosen) > 1 else {}

    def tls(self) -> ssl.SSLContext:
        """Return how TLS is spoken. Raises: PermanentError if `ca_file` cannot be used."""
        return tls(check=not self.insecure, ca_file=self.ca_file, fingerprint=self.fingerprint)


class SecureWebDevice(WebDevice, TLSDevice):
    """A device that is reached by HTTP or HTTPS."""

    protocol = Setting(choice("http", "https"), "http", "how the device is reached")

    def client(self, username: str = "", password: str = "") -> Client:
        """Return a client for this action."""
        secure = self.tls() if self.protocol == "https" else None
        port = 443 if secure else 80
        return Client(self.host, self.deadline, port=port, username=username, password=password, secure=secure)


def tcp_port(default: int, of: str = "") -> Setting[int]:
    """Declare the TCP port of something."""
    return Setting(integer(1, 65535), default, f"TCP port of {of}" if of else "TCP port")


def login(username: str, password: str, of: str) -> tuple[Setting[str], Setting[str]]:
    """Declare the user name and the password of something, with their defaults."""
    return Setting(text, username, f"user name of {of}"), Setting(text, password, f"password of {of}", secret=True)
