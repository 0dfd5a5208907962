# SPDX-License-Identifier: MIT
"""HTTP to small devices: one request, one connection, one checked answer.

`http.client` reads the answer; what goes around it is `pdudaemon.transports.tcp`, so that the deadline holds for the
whole exchange, however slowly a device dribbles, and no proxy of the environment is ever asked. A request leaves in
one piece, on a connection of its own that it asks to be closed: tiny servers want it so. Within ``with``, a client
keeps one connection for all its requests, for devices that take long over a TLS handshake.

A login is sent only when the device asks for one (401), in the way that it asks for: Digest (RFC 7616: MD5, SHA-256,
their ``-sess`` forms, ``qop=auth`` or none) before Basic.

Errors name the device and the path, never the query, where some devices want the password. An answer outside 2xx is
an error; so is a redirection, since whoever follows it may carry the login elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import json as jsonlib
import re
import socket
import ssl
import urllib.parse
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Self, cast

from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.httplogin import authorization, challenges
from pdudaemon.transports.tcp import FAREWELL_SECONDS, Connection, PinnedContext, Stream, in_words

LIMIT = 4 * 1024 * 1024
"""Most bytes of an answer, headers included."""

_ADDRESS = re.compile(r"(?:\[([^\[\]/@\s]+)\]|([^:\[\]/@\s]+))(?::([0-9]{1,5}))?")
_SAFE = "%/:?@!$&'()*+,;=~"  # stays as it is in a target, beside letters, digits and _.-
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUIETS = 5
_REPEATABLE = ("GET", "HEAD", "DELETE")
_LATER = (408, 429)  # those of 4xx that mean: try again


@dataclass(frozen=True)
class Response:
    """An answer. ``source`` says whose, and to what, as errors begin."""

    status: int
    headers: Message
    body: bytes
    source: str

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none comes as replacement characters."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the body as JSON. Raises: TransientError if it is none."""
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            raise TransientError(f"{self.source}: the answer is not JSON") from None


def tls(*, check: bool = True, ca_file: str = "", fingerprint: str = "") -> ssl.SSLContext:
    """Return how to speak TLS: with a certificate that the system trusts, or ``ca_file``; or with any, not ``check``.

    With ``fingerprint``, the SHA-256 of a certificate, with that one alone, whoever signed it.

    PDUs are old: key exchanges that Python leaves out but the system allows are taken, and, unchecked, whatever OpenSSL
    still has. Raises: PermanentError if ``ca_file`` cannot be used.
    """
    try:
        return _shared_tls(check, ca_file, Path(ca_file).stat().st_mtime_ns if ca_file else 0, fingerprint)
    except OSError as error:
        raise PermanentError(f"the CA file {ca_file!r} cannot be used: {error.strerror or error}") from None


@functools.lru_cache(maxsize=64)
def _shared_tls(check: bool, ca_file: str, stamp: int, fingerprint: str) -> ssl.SSLContext:
    """Return what `tls` does, one for all: it takes a megabyte, and the time to read all that the system trusts."""
    context: ssl.SSLContext
    if fingerprint:
        context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.fingerprint = fingerprint
        check = False
    else:
        context = ssl.create_default_context(cafile=ca_file or None)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python's from 3.13 on: CAs of labs have no key usage
    if check:
        context.set_ciphers("DEFAULT")
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python leaves this to OpenSSL, which takes less
        return context
    return tolerant(context)


def tolerant(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context take any certificate, and whatever OpenSSL still has; return it."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One device, for one action.

    ``address`` is a name or an address, maybe with a port, which then goes before ``port``. The login is for when the
    device asks for it; without a user name there is none. ``secure`` is what `tls` returned, for HTTPS.
    """

    def __init__(
        self,
        address: str,
        deadline: Deadline,
        *,
        port: int = 80,
        username: str = "",
        password: str = "",
        secure: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port = split(address, port)
        self._deadline = deadline
        self._username = username
        self._password = password
        self._secure = secure
        self._keeps = False
        self._basic = ""  # the login that the device has taken, which goes along from then on
        self._kept: contextlib.ExitStack | None = None
        self._connection: Connection
        self.peer = in_words(self._host, self._port)

    def __enter__(self) -> Self:
        self._keeps = True
        return self

    def __exit__(self, *_: object) -> None:
        self._keeps = False
        self._hang_up()

    @contextlib.contextmanager
    def farewell(self) -> Iterator[None]:
        """Take leave of a device that keeps sessions: see `Stream.farewell`."""
        self._deadline = Deadline(FAREWELL_SECONDS)
        if self._kept is not None:
            self._connection.deadline = self._deadline
        with contextlib.suppress(DeviceError):
            yield

    def request(
        self,
        method: str,
        target: str,
        *,
        json: object = None,
        form: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        also: Container[int] = (),
        bare: bool = False,
        quiet: float | None = None,
    ) -> Response:
        """Send a request, with ``json``, ``form`` or ``body`` if given, and return the answer, which is a 2xx.

        ``target`` is a path, perhaps with a query. ``also`` are further statuses that the caller wants to read itself;
        ``bare`` takes an answer without any HTTP around it, even an empty one, for a body (tiny servers do that).
        A body that never ends, such as Server-Sent Events, is what has come when nothing came for ``quiet`` seconds, or
        after `_QUIETS` times as many.

        Raises: PermanentError for a refused login (401, 403) and any other no (4xx, a redirection); TransientError for
        5xx and for what is not HTTP; DeviceTimeout.
        """
        target = urllib.parse.quote(target, safe=_SAFE)
        sent = {"Host": self._host_header(), "Accept": "*/*", "User-Agent": "pdudaemon"}
        if not self._keeps:
            sent["Connection"] = "close"
        if json is not None:
            body = jsonlib.dumps(json, separators=(",", ":")).encode()
            sent["Content-Type"] = "application/json"
        elif form is not None:
            body = urllib.parse.urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if body or method != "GET":
            sent["Content-Length"] = str(len(body))
        if self._basic:
            sent["Authorization"] = self._basic
        sent.update(headers or {})

        response = self._exchange(method, target, sent, body, bare, quiet)
        for again in (False, True):
            if response.status != 401 or not self._username:
                break
            asked = challenges(response.headers.get_all("WWW-Authenticate", []))
            if again and not any(challenge.get("stale", "").lower() == "true" for challenge in asked):
                break  # only a nonce that has become too old is worth another try
            if not (login := authorization(asked, method, target, self._username, self._password)):
                raise PermanentError(f"{self.peer} asks for an unknown kind of login")
            sent["Authorization"] = login
            response = self._exchange(method, target, sent, body, bare, quiet)
            self._basic = login if login.startswith("Basic ") and response.status != 401 and self._keeps else ""
        if not 200 <= response.status < 300 and response.status not in also:
            raise self._refusal(response, "Authorization" in sent)
        return response

    def _host_header(self) -> str:
        default = 443 if self._secure else 80
        return self.peer if self._port != default else self.peer.removesuffix(f":{default}")

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, bare: bool, quiet: float | None
    ) -> Response:
        """Ask on the kept connection, if there is one; if that has gone, what may be asked twice is, on a new one."""
        if self._kept is not None and method in _REPEATABLE:
            try:
                return self._exchanged(method, target, headers, body, bare, quiet)
            except DeviceTimeout:
                raise
            except TransientError:
                pass
        return self._exchanged(method, target, headers, body, bare, quiet)

    @contextlib.contextmanager
    def _line(self) -> Iterator[Connection]:
        """Connect, unless that is so already; it is kept if nothing fails, until `_hang_up`."""
        if self._kept is None:
            with contextlib.ExitStack() as stack:
                self._connection = stack.enter_context(
                    Connection(self._host, self._port, self._deadline, tls=self._secure)
                )
                self._kept = stack.pop_all()
        try:
            yield self._connection
        except BaseException:
            self._hang_up()
            raise
        if not self._keeps:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _exchanged(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, bare: bool, quiet: float | None
    ) -> Response:
        step = f"{method} {target.partition('?')[0]}"
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any(map(_CONTROL.search, lines)):
            raise PermanentError(f"{step} for {self.peer} has a character that HTTP does not allow")
        with self._line() as connection:
            connection.send("\r\n".join([*lines, "", ""]).encode() + body, step)
            incoming = _Incoming(connection, step)
            # Closed by us, even if it broke off: of what the garbage collector closes, Python 3.13 logs tracebacks.
            with contextlib.closing(http.client.HTTPResponse(cast(socket.socket, incoming), method=method)) as response:
                try:
                    response.begin()
                    received = response.read() if quiet is None else _so_far(response, connection, quiet)
                except (http.client.HTTPException, ValueError) as error:
                    if bare and isinstance(error, http.client.BadStatusLine):
                        incoming.to_the_end()
                        self._keeps = False
                        return Response(200, Message(), bytes(incoming.received), f"{self.peer} at {step}")
                    if isinstance(error, http.client.RemoteDisconnected):
                        raise TransientError(f"connection closed by {self.peer} at {step}") from None
                    raise TransientError(f"{self.peer} at {step}: the answer is not HTTP") from None
        if response.will_close:
            self._hang_up()
        return Response(response.status, response.headers, received, f"{self.peer} at {step}")

    def _refusal(self, response: Response, logged_in: bool) -> DeviceError:
        status = response.status
        if status in (401, 403):
            why = "" if logged_in or status == 403 else ": it asks for a user name and a password"
            return LoginRefused(f"login refused by {response.source} ({status}){why}")
        if 300 <= status < 400:
            to = response.headers.get("Location", "nowhere").partition("?")[0]
            return PermanentError(f"{response.source}: redirected to {to} ({status})")
        kind = PermanentError if 400 <= status < 500 and status not in _LATER else TransientError
        return kind(f"{response.source}: answered {status} {http.client.responses.get(status, '')}".rstrip())


def _so_far(response: http.client.HTTPResponse, stream: Stream, quiet: float) -> bytes:
    """Read a body that may never end. Raises: DeviceTimeout if nothing comes at all."""
    received = b""
    until = stream.deadline
    try:
        while data := response.read1(65536):
            until = stream.deadline.within(_QUIETS * quiet) if not received else until
            received += data
            stream.deadline = until.within(quiet)
    except DeviceTimeout:
        if not received:
            raise
    return received


class _Incoming(io.RawIOBase):
    """What http.client takes for a socket: a stream, of which it gets at most `LIMIT` bytes, kept in ``received``."""

    def __init__(self, stream: Stream, step: str) -> None:
        self._stream = stream
        self._step = step
        self.received = bytearray()

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def to_the_end(self) -> None:
        """Receive all there is."""
        while self.readinto(bytearray(65536)):
            pass

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.receive(self._step, len(buffer))
        self.received += data
        if len(self.received) > LIMIT:
            raise TransientError(f"{self._stream.peer} at {self._step}: the answer has more than {LIMIT} bytes")
        buffer[: len(data)] = data
        return len(data)


def split(address: str, port: int) -> tuple[str, int]:
    """Return host and port of an address that may have a port of its own. Raises: PermanentError."""
    found = _ADDRESS.fullmatch(address)
    if found and int(found[3] or 1) in range(1, 65536):
        return found[1] or found[2], int(found[3] or port)
    if address.count(":") > 1 and not set("[]/@ ") & set(address):  # a bare IPv6 address
        return address, port
    raise PermanentError(f"{address!r} is not an address")
