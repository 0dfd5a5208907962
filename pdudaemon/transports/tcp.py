# SPDX-License-Identifier: MIT
"""TCP connections: exact reads, lines and sends, each bounded by the one deadline of the action.

`Stream` is what a TCP connection has in common with a serial line; `pdudaemon.transports.serialport` builds on it.

Every call takes the ``step`` of the dialogue that it is, in words that follow "at": "the login", "switching relay 3".
An error names it, and the device as host:port, and nothing that was sent.

Only the look-up of a host's name is out of reach of the deadline: the system's resolver has its own. An address given
in numbers needs none.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Self

from pdudaemon.errors import ConnectionRefused, DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline

CHUNK = 65536
LIMIT = 65536
"""Most bytes that are read in search of the end of a line or of a prompt."""

FAREWELL_SECONDS = 1.0
LOOK = 0.001  # seconds for what has come already
_CONNECTING = 5.0  # seconds for a connection by who gives way to others, which cannot be interrupted


def in_words(host: str, port: int) -> str:
    """Return host:port, as errors have it and HTTP."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Stream:
    """Bytes to and from one device, called ``peer`` in errors.

    Raises, from every method: DeviceTimeout when the deadline passed, TransientError when the line is lost.
    """

    def __init__(self, peer: str, deadline: Deadline) -> None:
        self.peer = peer
        self.deadline = deadline
        self._buffer = bytearray()
        self._looked: Deadline | None = None  # the one after which we have looked once more

    @contextlib.contextmanager
    def farewell(self) -> Iterator[None]:
        """Take leave of a device: owed even when the time of the action is over, and whatever comes of it is no matter.

        Weak devices keep a session that was not ended, and let nobody else in.
        """
        self.deadline = Deadline(FAREWELL_SECONDS)
        with contextlib.suppress(DeviceError):
            yield

    def send(self, data: bytes, step: str) -> None:
        """Send all of ``data``."""
        raise NotImplementedError

    def _receive(self, step: str) -> bytes:
        """Wait for some bytes and return them; none at the end of the stream."""
        raise NotImplementedError

    def receive(self, step: str, most: int = LIMIT) -> bytes:
        """Return what has come, waiting for it if need be; nothing only at the end of the stream."""
        if not self._buffer:
            self._buffer += self._receive(step)
        return self._take(most)

    def peek(self, step: str) -> bytes:
        """Wait for more; return all that has come, and leave it there. Raises also: TransientError for too much."""
        self._more(step)
        if len(self._buffer) > LIMIT:
            raise TransientError(f"{self.peer} sends too much at {step}")
        return bytes(self._buffer)

    def receive_exactly(self, size: int, step: str) -> bytes:
        """Return so many bytes."""
        while len(self._buffer) < size:
            self._more(step)
        return self._take(size)

    def receive_answer(self, size: int, step: str) -> bytes:
        """Return an answer of so many bytes, from a device that says nothing unasked.

        Raises also: PermanentError if it says more: it is another one, and what we took for an answer is its greeting.
        """
        answer = self.receive_exactly(size, step)
        if self._buffer:
            raise PermanentError(f"{self.peer} sends more than was asked for at {step}: is it a device of this kind?")
        return answer

    def receive_until(self, end: bytes, step: str) -> bytes:
        """Return all up to and including ``end``. Raises also: TransientError if it does not come within `LIMIT`."""
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > LIMIT:
                raise TransientError(f"{self.peer} sends too much at {step}")
            self._more(step)
        return self._take(at + len(end))

    def receive_line(self, step: str) -> bytes:
        """Return the next line, which LF ends, without its line end."""
        return self.receive_until(b"\n", step).rstrip(b"\r\n")

    def _more(self, step: str) -> None:
        data = self._receive(step)
        if not data:
            raise self._closed(step)
        self._buffer += data

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _seconds(self, step: str) -> float:
        try:
            return self.deadline.remaining()
        except DeviceTimeout:
            raise self._silent(step) from None

    def _patience(self, step: str, left: Callable[[], float] | None = None) -> float:
        """Return for how long to wait for what comes.

        After the deadline we look once, since an answer may have come while this process stood still.
        """
        try:
            return self.deadline.remaining() if left is None else left()
        except DeviceTimeout:
            if self._looked is self.deadline:
                raise self._silent(step) from None
            self._looked = self.deadline
            return LOOK

    def _silent(self, step: str) -> DeviceTimeout:
        return DeviceTimeout(f"no answer from {self.peer} at {step} within {self.deadline.seconds:g} s")

    def _closed(self, step: str) -> TransientError:
        return TransientError(f"connection closed by {self.peer} at {step}")

    @contextlib.contextmanager
    def _translating(self, step: str) -> Iterator[None]:
        """Raise what the operating system says as an error of ours."""
        try:
            yield
        except TimeoutError:
            raise self._silent(step) from None
        except (ConnectionResetError, BrokenPipeError):
            raise self._closed(step) from None
        except OSError as error:
            raise TransientError(f"connection to {self.peer} lost at {step}: {error.strerror or error}") from None


class PinnedContext(ssl.SSLContext):
    """TLS with the one certificate whose SHA-256 is ``fingerprint``, in small hex digits, whoever signed it."""

    fingerprint: str = ""

    def refusal(self, presented: bytes | None) -> str:
        """Return what is wrong with a certificate, in words; empty if nothing."""
        found = hashlib.sha256(presented or b"").hexdigest()
        return "" if found == self.fingerprint else f"its fingerprint is {found}"


class Connection(Stream):
    """A TCP connection, open within ``with``; over TLS if a context for it is given."""

    def __init__(self, host: str, port: int, deadline: Deadline, *, tls: ssl.SSLContext | None = None) -> None:
        host = host.strip("[]")  # in which an IPv6 address may stand, as in a URL
        super().__init__(in_words(host, port), deadline)
        self._address = host, port
        self._tls = tls
        self._socket: socket.socket

    def __enter__(self) -> Self:
        connected = self._connect()
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(connected)
            with self._translating("the connection"):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = connected if self._tls is None else self._secured(connected, self._tls)
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def secure(self, tls: ssl.SSLContext) -> None:
        """Go on over TLS, as the device has just agreed to. Raises also: TransientError if it has said more than that.

        What came with the agreement came in the clear, and whoever sent it may not be the device.
        """
        if self._buffer:
            raise TransientError(f"{self.peer} sends more than was asked for at the TLS handshake")
        self._socket = self._secured(self._socket, tls)

    def send(self, data: bytes, step: str) -> None:
        self._socket.settimeout(self._seconds(step))
        with self._translating(step):
            self._socket.sendall(data)

    def _receive(self, step: str) -> bytes:
        while True:
            self._socket.settimeout(self._patience(step, self.deadline.spell))
            with self._translating(step):
                try:
                    return self._socket.recv(CHUNK)
                except TimeoutError:
                    if not self.deadline.goes_on():
                        raise

    def _connect(self) -> socket.socket:
        """Try the host's addresses in turn, each with its share of the time, so that a dead one leaves some."""
        host, port = self._address
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a host name"
            raise TransientError(f"cannot resolve {host!r}: {why}") from None
        problem = TransientError(f"{host!r} has no address")
        for number, (family, kind, protocol, _, address) in enumerate(found):
            share = self._seconds("the connection") / (len(found) - number)
            with contextlib.ExitStack() as on_failure:
                try:
                    connection = on_failure.enter_context(socket.socket(family, kind, protocol))
                    connection.settimeout(min(share, _CONNECTING) if self.deadline.gives_way else share)
                    connection.connect(address)
                    on_failure.pop_all()
                    return connection
                except TimeoutError:
                    problem = self._silent("the connection")
                except ConnectionRefusedError:
                    problem = ConnectionRefused(f"connection refused by {self.peer}")
                except OSError as error:
                    problem = TransientError(f"no connection to {self.peer}: {error.strerror or error}")
        raise problem

    def _secured(self, plain: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        step = "the TLS handshake"
        plain.settimeout(self._seconds(step))
        with self._translating(step):
            try:
                secured = tls.wrap_socket(plain, server_hostname=self._address[0])
            except ssl.SSLCertVerificationError as error:
                raise PermanentError(f"the certificate of {self.peer} is not trusted: {error.verify_message}") from None
            except ssl.SSLError as error:
                raise TransientError(f"no TLS with {self.peer}: {error.reason or error}") from None
            if isinstance(tls, PinnedContext) and (why := tls.refusal(secured.getpeercert(binary_form=True))):
                secured.close()
                raise PermanentError(f"the certificate of {self.peer} is not trusted: {why}")
            return secured
