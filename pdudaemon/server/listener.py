# SPDX-License-Identifier: MIT
"""`Listener`: one listening socket. Its connections are served by the thread of `pdudaemon.server.connections`."""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import ssl
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from pdudaemon.config.options import ListenerOptions
from pdudaemon.errors import ConfigError, Denied, Unavailable
from pdudaemon.server import tls, unixsocket
from pdudaemon.server.access import UNIX, Access, Certified
from pdudaemon.server.client import Client
from pdudaemon.server.handover import Handed, Handover, address_of
from pdudaemon.server.refusals import Refusals

log = logging.getLogger("pdud.listener")


class Listener(socketserver.TCPServer):
    """A bound socket, with who may ask there. What it does to new clients may be replaced while others are served.

    ``open`` says whether everybody may ask, and nobody is called by a name: so that nobody need be looked at.
    """

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(
        self, options: ListenerOptions, access: Access, refusals: Refusals, handover: Handover | None = None
    ) -> None:
        """Bind and listen, unless that has been done, and is handed over. Raises: ConfigError."""
        self._serve_by(options, access, tls.context(options))
        self.refusals = refusals
        self._handover = handover or Handover()
        self._handed = self._kept = ""
        self._inode = 0
        where = options.socket or f"{options.hostname or '*'} port {options.port}"
        try:
            if options.socket:
                self._bind_file(options.socket)
            else:
                self._bind(*address_of(options))
        except OSError as error:
            raise Unavailable(f"cannot listen on {where}: {error.strerror}") from None
        except ValueError as error:  # what cannot be a name at all, such as 127.0..1
            raise ConfigError(f"cannot listen on {where}: {error}") from None
        self.socket.setblocking(False)
        how = options.protocol if self.context is None else f"{options.protocol}, TLS"
        place = options.socket or str(Client(str(self.server_address[0]), self.server_address[1]))
        log.info("listening on %s (%s%s)", place, how, f", as {self._handed} hands over" if self._handed else "")

    def _bind(self, family: int, where: tuple[Any, ...]) -> None:
        """Listen at an address. Raises: OSError."""
        self.address_family = family
        handed = self._handover.take(where)
        # The handler class is never made: the selector's thread does its work.
        super().__init__(cast(tuple[str, int], where), socketserver.BaseRequestHandler, handed is None)
        self._take(handed)
        if handed is None or not handed.of_unit:
            self._kept = self._handover.keep(where, self.fileno())

    def _take(self, handed: Handed | None) -> None:
        """Have the socket that was handed over in place of one of our own."""
        if handed is not None:
            self.socket.close()
            self.socket = handed.socket
            self._handed = handed.name if handed.of_unit else "the daemon before"

    def _bind_file(self, path: str) -> None:
        """Listen on a UNIX socket. Raises: OSError."""
        self.address_family = socket.AF_UNIX
        handed = self._handover.take(path)
        if handed is None:
            self._make_file(path)
        else:
            super().__init__(cast(tuple[str, int], path), socketserver.BaseRequestHandler, bind_and_activate=False)
            self._take(handed)
        if handed is None or not handed.of_unit:
            if handed is not None:
                unixsocket.dress(path, self.options)
            self._inode = os.lstat(path).st_ino
            self._kept = self._handover.keep(path, self.fileno())

    def _make_file(self, path: str) -> None:
        """Make it, with its file. Raises: OSError."""
        unixsocket.check(path)
        name = unixsocket.beside(path)
        super().__init__(cast(tuple[str, int], name), socketserver.BaseRequestHandler, bind_and_activate=False)
        try:
            self.server_bind()
            unixsocket.dress(name, self.options)
            self.server_activate()
            os.rename(name, path)
        except OSError:
            super().server_close()
            with suppress(OSError):
                os.unlink(name)
            raise

    def server_close(self) -> None:
        super().server_close()
        stays = self._handover.given_up(self._kept)
        if not stays:
            unixsocket.remove(self.options.socket, self._inode)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; one that is to speak TLS comes as what does so, in a socket's place."""
        sock, address = super().get_request()
        if self.options.socket:
            address = (UNIX, 0)
        if self.context is None:
            return sock, address
        client = Client(*address[:2])

        def told(why: str) -> None:
            self.refusals.note(client.address, f"{client} {why}")

        return cast(socket.socket, tls.TLSSocket(sock, self.context, told)), address

    def renew(self, options: ListenerOptions, access: Access, context: ssl.SSLContext | None) -> None:
        """Serve by other options from now on; connections that there are keep their certificate."""
        if self._inode and vars(options) != vars(self.options):
            try:
                unixsocket.dress(options.socket, options)
            except OSError as error:
                log.error("%s: %s", options.socket, error.strerror)
        self._serve_by(options, access, context)

    def _serve_by(self, options: ListenerOptions, access: Access, context: ssl.SSLContext | None) -> None:
        self.options, self.access, self.context = options, access, context
        self.open = not (access.by_token or options.allow or options.client_ca)

    def permit(self, client: Client, authorization: str | None, shown: Certified | None = None) -> Client:
        """Return a client, with what its token, or the certificate ``shown``, says of it.

        Raises: Denied. See `Access.permit`.
        """
        if self.options.client_ca and shown is None and not self.access.by_token:
            raise Denied(403, "a certificate is needed here")
        name, roles = self.access.permit(client.address, self.options.allow, authorization, shown)
        return replace(client, name=name, roles=roles) if name or roles is not None else client
