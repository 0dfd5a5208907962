# SPDX-License-Identifier: MIT
"""``pdudaemon --health``: asks the daemon of a configuration how it is, for containers and clusters that want to know.

It asks where that daemon listens, so that nobody has to say it twice: ``/healthz`` where HTTP is spoken; where only the
text protocol is, whether somebody accepts.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys

from pdudaemon.config.model import Config
from pdudaemon.config.options import ListenerOptions

NO_USE = os.EX_TEMPFAIL
PATIENCE = 10.0  # seconds; the daemon itself says within 3 s what ails it
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def tell(conf: Config) -> int:
    """Print how the daemon is; return 0 if it is well, 1 if it is not, or does not answer.

    `NO_USE`, if it is not, and it is no use to start it anew: its disk is full.
    """
    listener = min(conf.listeners, key=lambda each: each.protocol == "tcp")
    where = listener.socket or f"{listener.hostname or '*'} port {listener.port}"
    code = 1
    try:
        ailing = _ask(listener, "/healthz")
        if ailing and not _ask(listener, "/livez"):
            code = NO_USE
    except (OSError, http.client.HTTPException) as error:
        ailing = f"{getattr(error, 'strerror', '') or error or type(error).__name__}"
    print(f"{where}: {ailing or 'ok'}", file=sys.stderr if ailing else sys.stdout)
    return code if ailing else 0


def _ask(listener: ListenerOptions, path: str) -> str:
    """Return what ails the daemon, empty if it is well. Raises: OSError, HTTPException."""
    if listener.protocol == "tcp":
        _connected(listener).close()
        return ""
    status, text = answer(listener, path, most=1000)
    # 401: it turns, and wants a token for more.
    return "" if status in (200, 401) else f"{status}: {text.strip()}"


def answer(listener: ListenerOptions, path: str, token: str = "", most: int = 1_000_000) -> tuple[int, str]:
    """Return status and text of an answer of the daemon here. Raises: OSError, HTTPException."""
    with _connected(listener) as plain:
        connection = http.client.HTTPConnection(*_address(listener))
        # To whom we talk is known: it is on this machine. What is asked is no secret.
        connection.sock = ssl._create_unverified_context().wrap_socket(plain) if listener.certificate else plain
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        reply = connection.getresponse()
        return reply.status, reply.read(most).decode(errors="replace")


def _address(listener: ListenerOptions) -> tuple[str, int]:
    return (_ANY.get(listener.hostname, listener.hostname), listener.port)


def _connected(listener: ListenerOptions) -> socket.socket:
    if not listener.socket:
        return socket.create_connection(_address(listener), PATIENCE)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(PATIENCE)
    plain.connect(listener.socket)
    return plain
