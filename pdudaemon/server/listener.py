# SPDX-License-Identifier: MIT
"""`Listener`: one listening socket. Its connections are served by the thread of `pdudaemon.server.connections`."""

from __future__ import annotations

import logging
import socket
import socketserver
from dataclasses import replace
from typing import cast

from pdudaemon.config.model import ListenerOptions
from pdudaemon.errors import ConfigError, Unavailable
from pdudaemon.server.access import Access
from pdudaemon.server.client import Client

log = logging.getLogger("pdud.listener")


class Listener(socketserver.TCPServer):
    """A bound socket, with who may ask there. ``options`` and ``access`` may be replaced while clients are served."""

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, options: ListenerOptions, access: Access) -> None:
        """Bind and listen. Raises: ConfigError."""
        self.options = options
        self.access = access
        where = f"{options.hostname or '*'} port {options.port}"
        try:
            found = socket.getaddrinfo(options.hostname or "0.0.0.0", options.port, type=socket.SOCK_STREAM)
            family, *_, address = min(found)  # IPv4 first
            self.address_family = family
            # The handler class is never made: the selector's thread does its work.
            super().__init__(cast(tuple[str, int], address), socketserver.BaseRequestHandler)
        except OSError as error:
            raise Unavailable(f"cannot listen on {where}: {error.strerror}") from None
        except ValueError as error:  # what cannot be a name at all, such as 127.0..1
            raise ConfigError(f"cannot listen on {where}: {error}") from None
        self.socket.setblocking(False)
        log.info("listening on %s (%s)", Client(str(self.server_address[0]), self.server_address[1]), options.protocol)

    def permit(self, client: Client, authorization: str | None) -> Client:
        """Return a client, with what its token says of it. Raises: Denied. See `Access.permit`."""
        name, roles = self.access.permit(client.address, self.options.allow, authorization)
        return replace(client, name=name, roles=roles) if name or roles is not None else client
