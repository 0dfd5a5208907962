# SPDX-License-Identifier: MIT
"""HTTP to small devices: one request, one connection, one checked answer.

`http.client` reads the answer; what goes around it is `pdudaemon.transports.tcp`, so that the deadline holds for the
whole exchange, however slowly a device dribbles, and no proxy of the environment is ever asked. A request leaves in
one piece, on a connection of its own that it asks to be closed: tiny servers want it so.

A login is sent only when the device asks for one (401), in the way that it asks for: Digest (RFC 7616: MD5, SHA-256,
their ``-sess`` forms, ``qop=auth`` or none) before Basic. The digest handler of urllib knows no SHA-256.

Errors name the device and the path, never the query, where some devices want the password. An answer outside 2xx is
an error; so is a redirection, since whoever follows it may carry the login elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json as jsonlib
import os
import re
import socket
import ssl
import urllib.parse
from collections.abc import Container, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, cast

from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.tcp import Connection, Stream, in_words

LIMIT = 4 * 1024 * 1024
"""Most bytes of an answer, headers included."""

_ADDRESS = re.compile(r"(?:\[([^\[\]/@\s]+)\]|([^:\[\]/@\s]+))(?::([0-9]{1,5}))?")
_SAFE = "%/:?@!$&'()*+,;=~"  # stays as it is in a target, beside letters, digits and _.-
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PART = re.compile(r'([^\s,="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?')  # of WWW-Authenticate
_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}  # the better one first
_QUIETS = 5
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


def tls(*, check: bool = True, ca_file: str = "") -> ssl.SSLContext:
    """Return how to speak TLS: with a certificate that the system trusts, or ``ca_file``; or with any, not ``check``.

    PDUs are old: key exchanges that Python leaves out but the system allows are taken, and, unchecked, whatever OpenSSL
    still has. Raises: PermanentError if ``ca_file`` cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise PermanentError(f"the CA file {ca_file!r} cannot be used: {error.strerror or error}") from None
    context.set_ciphers("DEFAULT" if check else "DEFAULT:@SECLEVEL=0")
    # Debian's Python leaves this to OpenSSL, which still takes TLS 1.0.
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if check else ssl.TLSVersion.MINIMUM_SUPPORTED
    if not check:
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
        self._host, self._port = _split(address, port)
        self._deadline = deadline
        self._username = username
        self._password = password
        self._secure = secure
        self.peer = in_words(self._host, self._port)

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
        sent = {"Host": self._host_header(), "Connection": "close", "Accept": "*/*", "User-Agent": "pdudaemon"}
        if json is not None:
            body = jsonlib.dumps(json, separators=(",", ":")).encode()
            sent["Content-Type"] = "application/json"
        elif form is not None:
            body = urllib.parse.urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if body or method != "GET":
            sent["Content-Length"] = str(len(body))
        sent.update(headers or {})

        response = self._exchange(method, target, sent, body, bare, quiet)
        for again in (False, True):
            if response.status != 401 or not self._username:
                break
            asked = _challenges(response.headers.get_all("WWW-Authenticate", []))
            if again and not any(challenge.get("stale", "").lower() == "true" for challenge in asked):
                break  # only a nonce that has become too old is worth another try
            sent["Authorization"] = self._login(asked, method, target)
            response = self._exchange(method, target, sent, body, bare, quiet)
        if not 200 <= response.status < 300 and response.status not in also:
            raise self._refusal(response, "Authorization" in sent)
        return response

    def _host_header(self) -> str:
        default = 443 if self._secure else 80
        return self.peer if self._port != default else self.peer.removesuffix(f":{default}")

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, bare: bool, quiet: float | None
    ) -> Response:
        step = f"{method} {target.partition('?')[0]}"
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any(map(_CONTROL.search, lines)):
            raise PermanentError(f"{step} for {self.peer} has a character that HTTP does not allow")
        with Connection(self._host, self._port, self._deadline, tls=self._secure) as connection:
            connection.send("\r\n".join([*lines, "", ""]).encode() + body, step)
            incoming = _Incoming(connection, step)
            response = http.client.HTTPResponse(cast(socket.socket, incoming), method=method)
            try:
                response.begin()
                received = response.read() if quiet is None else _so_far(response, connection, quiet)
            except (http.client.HTTPException, ValueError) as error:
                if bare and isinstance(error, http.client.BadStatusLine):
                    incoming.to_the_end()
                    return Response(200, Message(), bytes(incoming.received), f"{self.peer} at {step}")
                if isinstance(error, http.client.RemoteDisconnected):
                    raise TransientError(f"connection closed by {self.peer} at {step}") from None
                raise TransientError(f"{self.peer} at {step}: the answer is not HTTP") from None
        return Response(response.status, response.headers, received, f"{self.peer} at {step}")

    def _login(self, asked: list[dict[str, str]], method: str, target: str) -> str:
        """Return the header that answers the best of the challenges that we know; none at all means Basic."""
        usable = [
            challenge
            for name in _ALGORITHMS
            for challenge in asked
            if challenge["scheme"] == "digest"
            and challenge.get("algorithm", "MD5").upper().removesuffix("-SESS") == name
            and "auth" in challenge.get("qop", "auth").replace(",", " ").lower().split()
        ]
        if usable:
            return _digest(usable[0], method, target, self._username, self._password, os.urandom(16).hex())
        if not asked or any(challenge["scheme"] == "basic" for challenge in asked):
            return "Basic " + base64.b64encode(f"{self._username}:{self._password}".encode()).decode()
        raise PermanentError(f"{self.peer} asks for an unknown kind of login")

    def _refusal(self, response: Response, logged_in: bool) -> DeviceError:
        status = response.status
        if status in (401, 403):
            why = "" if logged_in or status == 403 else ": it asks for a user name and a password"
            return PermanentError(f"login refused by {response.source} ({status}){why}")
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


def _split(address: str, port: int) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    if found and int(found[3] or 1) in range(1, 65536):
        return found[1] or found[2], int(found[3] or port)
    if address.count(":") > 1 and not set("[]/@ ") & set(address):  # a bare IPv6 address
        return address, port
    raise PermanentError(f"{address!r} is not an address")


def _challenges(headers: list[str]) -> list[dict[str, str]]:
    """Return what the challenges of WWW-Authenticate headers hold, each with its ``scheme``; several may share one."""
    found: list[dict[str, str]] = []
    for part in _PART.finditer(", ".join(headers)):
        word, quoted, plain = part.groups()
        if quoted is None and plain is None:
            found.append({"scheme": word.lower()})
        elif found:
            found[-1][word.lower()] = plain or re.sub(r"\\(.)", r"\1", quoted)
    return found


def _digest(asked: Mapping[str, str], method: str, target: str, username: str, password: str, cnonce: str) -> str:
    """Return the Authorization header of RFC 7616, or of RFC 2069 where no ``qop`` was offered."""
    algorithm = asked.get("algorithm", "MD5").upper()
    session = algorithm.endswith("-SESS")
    function = _ALGORITHMS[algorithm.removesuffix("-SESS")]

    def digest(*parts: str) -> str:
        return hashlib.new(function, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    realm, nonce, count = asked.get("realm", ""), asked.get("nonce", ""), "00000001"
    secret = digest(username, realm, password)
    if session:
        secret = digest(secret, nonce, cnonce)
    between = (nonce, count, cnonce, "auth") if "qop" in asked else (nonce,)
    fields = {"username": username, "realm": realm, "nonce": nonce, "uri": target}
    fields["response"] = digest(secret, *between, digest(method, target))
    if "opaque" in asked:
        fields["opaque"] = asked["opaque"]
    if "qop" in asked or session:
        fields["cnonce"] = cnonce
    said = [f'{name}="{_escaped(value)}"' for name, value in fields.items()]
    said += ["qop=auth", f"nc={count}"] if "qop" in asked else []
    said += [f"algorithm={asked['algorithm']}"] if "algorithm" in asked else []
    return "Digest " + ", ".join(said)


def _escaped(value: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", value)
