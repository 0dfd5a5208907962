# SPDX-License-Identifier: MIT
"""HTTP to another daemon: many questions at a time, by one thread with an asyncio loop.

Connections are kept for the next question, and there is a bound to how many there are: who finds none waits for one.
That a question takes long costs a socket here and there, and no thread. Whoever asks bounds it in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pdudaemon.transports.tcp import PinnedContext, in_words

LONGEST_HEAD = 65536
LONGEST_BODY = 8 * 1024 * 1024
LONGEST_LINE = 1024 * 1024
AT_ONCE = 32 * 1024 * 1024  # bytes of all answers that are not whole yet
PIECE = 65536


class Unsent(Exception):
    """The question has not been put: there is no connection."""


class Lost(Exception):
    """The question was put, perhaps, and there is no whole answer."""


class Reply(NamedTuple):
    """An answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises: Lost if it is none."""
        try:
            return json.loads(self.body, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise Lost(f"the answer ({self.status}) is not JSON") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


class _Line:
    """A connection. ``used``: something was asked on it before."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = False

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        whole = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = whole.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise Lost("the answer is not HTTP")
        pairs = (line.partition(":") for line in lines if line)
        return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def pieces(self, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Yield the body of an answer in pieces."""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            while size := int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                async for piece in self._exactly(size):
                    yield piece
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
        elif "content-length" in headers:
            async for piece in self._exactly(int(headers["content-length"])):
                yield piece
        else:
            while piece := await self.reader.read(PIECE):
                yield piece

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        """Yield so many bytes in pieces, however many a peer says that there will be."""
        if size < 0:
            raise Lost("the answer is not HTTP")
        while size:
            piece = await self.reader.read(min(size, PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(piece)
            yield piece

    def close(self) -> None:
        self.writer.transport.abort()


class Asker:
    """Asks one daemon. All of it is called by the thread of one loop.

    ``most`` is how many connections there may be, streams not among them; ``token`` goes along with each question.
    """

    def __init__(
        self, host: str, port: int, path: str, *, token: str = "", secure: ssl.SSLContext | None = None, most: int = 64
    ) -> None:
        self.peer = in_words(host, port)
        self.asked = 0  # questions under way, or waiting for a connection
        self._address = host, port
        self._path = path
        self._secure = secure
        self._headers = {"Host": self.peer, "User-Agent": "pdudaemon", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: list[_Line] = []
        self._closed = False
        self._places = asyncio.Semaphore(most)
        self._bytes = 0  # of answers that are not whole yet

    async def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        put: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Put a question, whose body is JSON, and return the answer; ``put`` is called when it is about to leave.

        Of a kept connection that is closed before anything is answered, what switches nothing, or has an idempotency
        key, is asked on another one. Raises: Unsent, Lost.
        """
        self.asked += 1
        try:
            async with self._places:
                while True:
                    line = self._idle.pop() if self._idle else await self._connected()
                    put()
                    try:
                        return await self._exchanged(line, method, target, body, headers or {})
                    except (asyncio.IncompleteReadError, ConnectionError) as error:
                        line.close()
                        if line.used and not getattr(error, "partial", b""):
                            continue
                        raise Lost("the connection was closed before the answer was whole") from None
                    except BaseException:
                        line.close()
                        raise
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            raise Lost(_why(error)) from None
        finally:
            self.asked -= 1

    async def _exchanged(
        self, line: _Line, method: str, target: str, body: object, headers: Mapping[str, str]
    ) -> Reply:
        self._put(line, method, target, body, headers)
        await line.writer.drain()
        status, told = await line.head()
        content = bytearray()
        try:
            async for piece in line.pieces(told):
                content += piece
                self._bytes += len(piece)
                if len(content) > LONGEST_BODY:
                    raise Lost(f"the answer has more than {LONGEST_BODY} bytes")
                if self._bytes > AT_ONCE:
                    raise Lost(f"its answers have more than {AT_ONCE} bytes together")
        finally:
            self._bytes -= len(content)
        line.used = True
        if self._closed or told.get("connection", "").lower() == "close":
            line.close()
        else:
            self._idle.append(line)
        return Reply(status, told, bytes(content))

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        form: bool = False,
    ) -> AsyncIterator[tuple[int, Mapping[str, str], AsyncIterator[bytes]]]:
        """Put a question on a connection of its own; yield status, headers and lines. Raises: Unsent, Lost.

        ``form``: the body is one of a form, and not JSON.
        """
        line = await self._connected()
        try:
            with _in_words():
                self._put(line, method, target, body, {**(headers or {}), "Connection": "close"}, form)
                await line.writer.drain()
                status, told = await line.head()
            yield status, told, _lines(line.pieces(told))
        finally:
            line.close()

    def _put(
        self, line: _Line, method: str, target: str, body: Any, headers: Mapping[str, str], form: bool = False
    ) -> None:
        sent, content = {**self._headers, **headers}, b""
        if form:
            content = urllib.parse.urlencode(body).encode()
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(content))}
        elif body is not None:
            content = json.dumps(body, separators=(",", ":")).encode()
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        lines = [f"{method} {self._path}{target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        line.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + content)

    async def _connected(self) -> _Line:
        """Return a new connection. Raises: Unsent."""
        host, port = self._address
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=self._secure, limit=LONGEST_HEAD)
        except ssl.SSLError as error:
            raise Unsent(
                f"TLS with {self.peer}: {getattr(error, 'verify_message', '') or error.reason or error}"
            ) from None
        except (OSError, UnicodeError) as error:
            raise Unsent(f"no connection to {self.peer}: {_why(error)}") from None
        line = _Line(reader, writer)
        if isinstance(self._secure, PinnedContext):
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            if refusal := self._secure.refusal(shown):
                line.close()
                raise Unsent(f"TLS with {self.peer}: {refusal}")
        return line

    def close(self) -> None:
        """End the connections that are kept, and those under way when their questions are answered."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body, those that are empty among them; also a last one that does not end. Raises: Lost."""
    rest = bytearray()
    while True:
        with _in_words():
            piece = await anext(pieces, None)
        if piece is None:
            break
        first, *more = piece.split(b"\n")
        rest += first
        if len(rest) > LONGEST_LINE:
            raise Lost(f"a line of the answer has more than {LONGEST_LINE} bytes")
        for each in more:
            yield bytes(rest)
            rest = bytearray(each)
    if rest:
        yield bytes(rest)


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Say what goes wrong with a connection. Raises: Lost."""
    try:
        yield
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        raise Lost(_why(error)) from None


def _why(error: BaseException) -> str:
    """Return why something did not work, in words."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, EOFError):
        return "the connection was closed before the answer was whole"
    if isinstance(error, OSError):  # asyncio puts the address into its words
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
    return "the answer is not HTTP"
