# SPDX-License-Identifier: MIT
"""TLS as listeners speak it: `TLSSocket` stands in the place of the socket of a connection, and never waits.

OpenSSL works on two buffers, so that what it wants of the network is ours to give: the selector's thread reads, any
thread writes, and a lock keeps them apart, since an SSL object is not made for two threads. A client that has not said
anything yet costs no SSL object, one whose handshake does not end is one that sends no request.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pdudaemon import sharedfiles
from pdudaemon.config.options import ListenerOptions
from pdudaemon.errors import ConfigError
from pdudaemon.server import access
from pdudaemon.server.access import Certified

RECORD = 16384  # bytes that a TLS record holds at most

MOST_UNSENT = 1 << 17  # bytes that OpenSSL may have made of itself for who does not read: answers to new keys
_HANDSHAKE = 0x16  # the first byte of all that a TLS client says
_MAJOR = 3  # the version that each record has
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secrecy and authenticated encryption
_HTTP = re.compile(rb"[A-Z]{1,20} ")
_PLAIN = "this port speaks TLS"
_PLAIN_TEXT = f"nack: {_PLAIN}\n".encode()
_PLAIN_BODY = f"{_PLAIN}: ask by https://\n".encode()
_PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_PLAIN_BODY), _PLAIN_BODY)
)


def context(options: ListenerOptions) -> ssl.SSLContext | None:
    """Return what TLS is spoken by, None if the listener has no certificate. Raises: ConfigError."""
    if not options.certificate:
        for key in ("key", "client_ca"):
            if getattr(options, key):
                raise ConfigError(f"{key}: has no effect without a certificate")
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_ciphers(_CIPHERS)
    made.set_alpn_protocols(["http/1.1"])
    key = options.key or options.certificate
    _look_at("certificate", options.certificate, " CERTIFICATE-----")
    _look_at("key", key, "PRIVATE KEY-----")
    _checked("key", key, lambda: made.load_cert_chain(options.certificate, key, password=lambda: b""))
    if options.client_ca:
        _look_at("client_ca", options.client_ca, " CERTIFICATE-----")
        _checked("client_ca", options.client_ca, lambda: made.load_verify_locations(options.client_ca))
        made.verify_mode = ssl.CERT_OPTIONAL  # a token does as well
    return made


def _look_at(key: str, path: str, label: str) -> None:
    """Say what OpenSSL would not say in words. Raises: ConfigError."""
    try:
        with open(path, encoding="latin-1", opener=sharedfiles.unwaiting) as file:
            text = file.read(1 << 20)
    except OSError as error:
        raise ConfigError(f"{key}: {path}: {error.strerror}") from None
    if label not in text:
        raise ConfigError(f"{key}: {path}: holds no {label.strip(' -').lower()} in the form of PEM")
    if key == "key" and "ENCRYPTED" in text:
        raise ConfigError(f"{key}: {path}: is encrypted: store it without a passphrase")


def _checked(key: str, path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        why = "does not belong to the certificate" if mismatch else f"cannot be used: {_reason(error)}"
        raise ConfigError(f"{key}: {path}: {why}") from None
    except OSError as error:
        raise ConfigError(f"{key}: {path}: {error.strerror or error}") from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "the data is damaged").lower().replace("_", " ")


def certified(sock: object) -> Certified | None:
    """Return who a client is by its certificate, None if it has shown none."""
    return sock.certified if isinstance(sock, TLSSocket) else None


class TLSSocket:
    """A socket that speaks TLS, as far as connections use one.

    ``told`` is called, by the selector's thread, with why a handshake failed. ``certified`` is set once it has ended.
    """

    __slots__ = (
        "_ahead", "_context", "_first", "_incoming", "_lock", "_outgoing", "_raw", "_shaken", "_ssl", "_told",
        "_unsent", "certified",
    )  # fmt: skip

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, told: Callable[[str], None]) -> None:
        self.certified: Certified | None = None
        self._raw = raw
        self._context = context
        self._told = told
        self._incoming: ssl.MemoryBIO  # these two are there with the SSL object
        self._outgoing: ssl.MemoryBIO
        self._ssl: ssl.SSLObject | None = None
        self._first = b""  # a part of the first record
        self._shaken = False
        self._unsent = b""  # of what OpenSSL has made
        self._ahead = 0  # bytes that OpenSSL has taken and that have not been called sent
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._raw.fileno()

    def setblocking(self, flag: bool) -> None:
        self._raw.setblocking(flag)

    def recv(self, size: int) -> bytes:
        """Return what has come, all of it, empty if nothing more will. Raises: BlockingIOError, OSError."""
        with self._lock:
            data = self._raw.recv(size)
            if self._ssl is None:
                data = self._first + data if data else data
                if not data:
                    return data
                if not self._begin(data):
                    raise BlockingIOError
            self._incoming.write(data)  # of an end without a word OpenSSL is told nothing: who listens is answered
            try:
                return self._read(bool(data))
            finally:
                self._say_own()

    def send(self, data: bytes) -> int:
        """Send as much as the network takes; return how many bytes of it. Raises: BlockingIOError, OSError.

        What was not called sent must come again first: OpenSSL may have taken it already.
        """
        with self._lock:
            if not self._shaken or self._ssl is None:
                raise ConnectionAbortedError("the handshake has not ended")
            if not self._flush():
                raise BlockingIOError
            sent, self._ahead = self._ahead, 0
            while sent < len(data):
                record = data[sent : sent + RECORD]
                self._ssl.write(record)
                if not self._flush():
                    self._ahead = len(record)
                    break
                sent += len(record)
            if not sent:
                raise BlockingIOError
            return sent

    def shutdown(self, how: int) -> None:
        """Say that nothing more comes. Raises: OSError."""
        with self._lock:
            if self._ssl is not None:
                with suppress(ssl.SSLError, ValueError):
                    self._ssl.unwrap()  # which wants to hear the same of the other side, and a handshake before
                self._flush()
            self._raw.shutdown(how)

    def close(self) -> None:
        """Give back what OpenSSL has at once: 35 KiB that Python's collector knows nothing of, and comes for rarely."""
        with self._lock:
            self._raw.close()
            self._ssl, self._unsent = None, b""

    def _say_own(self) -> None:
        """Send what OpenSSL says of itself: a part of the handshake, an alert, a new key. Raises: OSError."""
        try:
            self._flush()
        except OSError:  # the client has gone; what it has said counts all the same
            if len(self._unsent) > MOST_UNSENT:
                raise

    def _begin(self, data: bytes) -> bool:
        """Begin to speak TLS once the first record has come whole: a part of it costs no more than its bytes."""
        if data[0] != _HANDSHAKE:
            with suppress(OSError):
                self._raw.send(_PLAIN_HTTP if _HTTP.match(data) else _PLAIN_TEXT)
            self._told("did not begin with TLS")
            raise ConnectionAbortedError("no TLS")
        length = int.from_bytes(data[3:5], "big")
        if len(data) < 5 or (len(data) < 5 + length and data[1] == _MAJOR and length <= RECORD):
            self._first = data
            return False
        self._first = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        return True

    def _read(self, more: bool) -> bytes:
        assert self._ssl is not None
        found = []
        try:
            if not self._shaken:
                self._ssl.do_handshake()
                self._shaken = True
                self.certified = _certified(self._ssl.getpeercert())
            while data := self._ssl.read(RECORD):
                found.append(data)
            with suppress(OSError):
                self._raw.shutdown(socket.SHUT_RD)  # it has said that nothing more comes: as if it had by TCP
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not self._shaken:
                self._told(f"failed in its handshake: {_reason(error)}")
            raise
        if not found and more:
            raise BlockingIOError
        return b"".join(found)

    def _flush(self) -> bool:
        """Send what OpenSSL has made; return whether the network took all of it. Raises: OSError."""
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                sent = self._raw.send(self._unsent)
            except BlockingIOError:
                if len(self._unsent) > MOST_UNSENT:
                    raise ConnectionAbortedError("the client makes us speak, and does not listen") from None
                return False
            self._unsent = self._unsent[sent:]
        return True


def _certified(certificate: dict[str, Any] | None) -> Certified | None:
    """Return whose a client's certificate is."""
    if not certificate:
        return None
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for key, value in subject if key == "commonName"]
    units = tuple(value for key, value in subject if key == "organizationalUnitName")
    return access.certified(names[-1] if names else "", units, certificate.get("serialNumber", ""))
