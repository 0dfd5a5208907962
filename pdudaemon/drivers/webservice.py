# SPDX-License-Identifier: MIT
"""`WebService`: what drivers have in common that talk to a service by its URL, not to a device by its address."""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from pdudaemon.drivers.network import TLSDevice
from pdudaemon.settings import Kind, Setting
from pdudaemon.transports.http import Client

_PATH = re.compile(r"(?:/[\w.~%:@!$&'()*+,;=-]*)*", re.ASCII)
_WANTED = "is not a URL such as https://lab:16421"


class WebAddress(NamedTuple):
    """What a URL says: whether TLS is spoken, host and port, and the path that all paths begin with."""

    secure: bool
    host: str
    port: int
    path: str


def _web_address(value: object) -> WebAddress:
    try:
        parts = urllib.parse.urlsplit(str(value))
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise ValueError(_WANTED) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a login in it: give that by settings of its own, so that it is not shown")
    known = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    if not known or not _PATH.fullmatch(parts.path):
        raise ValueError(f"{str(value)[:100]!r} {_WANTED}")
    return WebAddress(parts.scheme == "https", parts.hostname or "", port, parts.path.rstrip("/"))


class WebService(TLSDevice):
    """Something that is named by the URL at which it is; paths go behind that of the URL."""

    url = Setting(
        Kind("URL", _web_address), WebAddress(False, "", 80, ""), "where it is: `https://lab:16421`", required=True
    )

    def client(self, username: str = "", password: str = "") -> Client:
        """Return a client for this action."""
        host = f"[{self.url.host}]" if ":" in self.url.host else self.url.host
        secure = self.tls() if self.url.secure else None
        return Client(host, self.deadline, port=self.url.port, username=username, password=password, secure=secure)
